"""Digests of a store's patches, packed to send millions between processes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import xxhash

from slidemill.core.encodings import digest
from slidemill.stores.base import Store

KEPT = 16
"""Bytes that are kept of a digest."""
UNKNOWN = bytes(KEPT)
"""The digest of the pixels of a patch that cannot be read."""


@dataclass(frozen=True, slots=True)
class PixelDigests:
    """Pixel digests of a store, packed to send millions between processes.

    Parameters
    ----------
    ids
        The patches' ids, one per line.
    packed
        `KEPT` bytes per patch, in the order of the ids.
    """

    ids: str
    packed: bytes

    @classmethod
    def of(cls, ids: Sequence[str], digests: Sequence[str]) -> Self:
        """Pack digests, which may be any text in a manifest, as hashes."""
        packed = b"".join(xxhash.xxh3_128_digest(own.encode(errors="surrogatepass")) for own in digests)
        return cls("\n".join(ids), packed)

    def __len__(self) -> int:
        return len(self.packed) // KEPT

    def by_id(self) -> dict[str, bytes]:
        """Return the packed bytes of each patch by its id."""
        ids = self.ids.split("\n") if self.packed else []
        return {own: self.packed[place * KEPT : (place + 1) * KEPT] for place, own in enumerate(ids)}


@dataclass(frozen=True, slots=True)
class Decoded:
    """What the bytes of a store were decoded to.

    Equal bytes give equal pixels, so that another store with the same bytes need not be decoded.

    Parameters
    ----------
    layout
        The encoding, the patches, and the tiles that they are cut out of.
    stored
        `KEPT` bytes per patch or strip of tiles: the digests of the bytes that were read.
    pixels
        `KEPT` bytes per patch: the digests of its pixels, or `UNKNOWN`.
    """

    layout: str
    stored: bytes
    pixels: bytes


def layout_of(store: Store) -> str:
    """Return what stores must have in common for equal bytes to give equal pixels, as a digest."""
    manifest = store.manifest
    parts = [manifest.encoding, str(manifest.shape), json.dumps(manifest.tiles, sort_keys=True), *store.ids]
    return digest("\n".join(parts).encode())


def pack(digests: Sequence[str]) -> bytes:
    """Return digests as bytes, `UNKNOWN` for an empty one."""
    return b"".join(bytes.fromhex(own) if own else UNKNOWN for own in digests)


def unpack(packed: bytes, place: int) -> str:
    """Return a digest that was packed, empty for `UNKNOWN`."""
    own = packed[place * KEPT : (place + 1) * KEPT]
    return "" if own == UNKNOWN else own.hex()
