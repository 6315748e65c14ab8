"""Stores of a slide's own tiles, copied without decoding them."""
