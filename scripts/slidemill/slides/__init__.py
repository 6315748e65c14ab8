"""Find, open and read slides; imports core."""
