"""Patch stores: a protocol, one module per backend, and a registry."""
