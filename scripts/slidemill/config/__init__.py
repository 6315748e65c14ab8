"""The configuration: its model, checks, messages and reference; imports core only."""
