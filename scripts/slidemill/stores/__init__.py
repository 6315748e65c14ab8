"""Stores of patches: a protocol, a backend a module, and a registry of them."""
