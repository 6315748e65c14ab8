"""Layouts of other programs, read and written."""
