"""Filters that shrink the pixels of a level, exactly defined; imports core."""
