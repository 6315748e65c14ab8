"""The tiles that a slide's file is made of, as they are stored; imports core."""
