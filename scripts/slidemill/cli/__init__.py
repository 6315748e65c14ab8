"""The command line; may import everything."""
