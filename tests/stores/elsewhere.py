"""What another process reads, in a module of its own: what it imports, that process waits for."""

from slidemill.core.encodings import digest


def first_id(store):
    return digest(store.read(store.ids[0]))
