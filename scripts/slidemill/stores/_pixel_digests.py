"""The digests of all pixels of a store, packed: a million of them are sent between processes, for each store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import xxhash

SIZE = 16
"""Bytes that are kept for a patch."""


@dataclass(frozen=True, slots=True)
class PixelDigests:
    """What tells each patch's pixels from others: the ids, a line each, and `SIZE` bytes for each in their order."""

    ids: str
    packed: bytes

    @classmethod
    def of(cls, ids: Sequence[str], digests: Sequence[str]) -> Self:
        """Return digests packed. A manifest may hold any text as a digest, so what is kept is a hash of that."""
        return cls(
            "\n".join(ids), b"".join(xxhash.xxh3_128_digest(own.encode(errors="surrogatepass")) for own in digests)
        )

    def __len__(self) -> int:
        return len(self.packed) // SIZE

    def by_id(self) -> dict[str, bytes]:
        """Return what is kept of each patch by its id."""
        ids = self.ids.split("\n") if self.packed else []
        return {own: self.packed[place * SIZE : (place + 1) * SIZE] for place, own in enumerate(ids)}
