"""Store manifest: metadata, and digests that detect damage.

Patches have a digest of their bytes and one of their pixels, the index has `Manifest.index_digest`, and the manifest
ends in a seal, a digest of all bytes before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any

import xxhash

from slidemill.core.encodings import ENCODINGS, Buffer, Encoding, Shape, digest
from slidemill.errors import StoreError
from slidemill.stores.tile_cuts import TileCuts
from slidemill.stores.tile_grid import TileGrid

FORMAT = "slidemill"
VERSION, TILED_VERSION = 2, 3
"""The version of manifests, and of those of stores of tiles, which earlier versions of slidemill do not read."""
SEAL = re.compile(rb',"seal":"([0-9a-f]{32})"\}')
SEAL_SIZE = len(',"seal":""}') + 32
LARGE = 16 * 1024 * 1024
"""Manifests of more bytes are checked at both ends before they are copied into memory."""
LARGEST_PATCH = 4096
"""Largest patch_size, in pixels, that the configuration allows."""
PATCH_ID = re.compile(r"r[a-d]?\d{5,}_c[a-d]?\d{5,}")
COLUMNS = ("ids", "byte_digests", "pixel_digests")
KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("backend", "encoding", "slide", "fingerprint", "digest", "icc"), (str,)),
    **dict.fromkeys(("sampling", "versions"), (dict,)),
    **dict.fromkeys(COLUMNS, (list,)),
    "patch_size": (int,),
    "quality": (int, NoneType),
    "tiles": (dict, NoneType),
}
"""The types of a manifest's values, which may come from anywhere; lists hold texts."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The metadata and digests of a store, equal for two runs over one slide.

    Parameters
    ----------
    backend, encoding, quality
        How the patches are stored; `quality` is None except for JPEG.
    slide, fingerprint
        The slide's id, and the fingerprint of its content.
    patch_size
        Width and height of every patch in pixels.
    sampling
        The grid, as `slidemill.core.specs.GridSpec` takes it.
    digest
        The name of the digests' function.
    ids
        The patches' ids in raster order.
    byte_digests, pixel_digests
        The digests of each patch's stored bytes, and of its decoded pixels (empty where the encoding is lossy).
    index_digest
        The digest of the index, as the backend's `Store.index_digest` returns it: HDF5's datasets but the pixels,
        index.csv of a folder, headers and places of a tar file, those of Zarr's shards; empty for LMDB.
    versions
        Versions of slidemill and OpenSlide, and of LittleCMS where it converted the pixels.
    icc
        What was done to the slide's colours, as `slidemill.slides.icc.colour_state` returns it.
    tiles
        For a store of tiles, their `slidemill.stores.tile_grid.TileGrid` as JSON; `byte_digests` are those of tiles.
    """

    backend: str
    encoding: str
    quality: int | None
    slide: str
    fingerprint: str
    patch_size: int
    sampling: Mapping[str, Any]
    digest: str
    versions: Mapping[str, str]
    ids: tuple[str, ...] = ()
    byte_digests: tuple[str, ...] = ()
    pixel_digests: tuple[str, ...] = ()
    index_digest: str = ""
    icc: str = "ignore"
    tiles: Mapping[str, Any] | None = None

    @property
    def shape(self) -> Shape:
        """``(height, width, 3)`` of every patch."""
        return self.patch_size, self.patch_size, 3

    @property
    def codec(self) -> Encoding:
        """The encoding of the patches."""
        return ENCODINGS[self.encoding]

    @property
    def content(self) -> str:
        """A digest of the stored patches and their slide, 32 hex digits."""
        tiles = ("tiles",) if self.tiles else ()
        head = ("slide", "fingerprint", "encoding", "quality", "patch_size", "sampling", "icc", *tiles)
        hashed = xxhash.xxh3_128(json.dumps([getattr(self, name) for name in head], sort_keys=True).encode())
        for column in (self.ids, self.byte_digests, self.pixel_digests):
            hashed.update("\n".join(column).encode())
            hashed.update(b";")
        return hashed.hexdigest()

    def cuts(self, subject: object) -> TileCuts | None:
        """Return how patches are cut out of stored tiles; None where patches are stored.

        Messages name `subject`.
        """
        return TileCuts(TileGrid.from_json(self.tiles), self.ids, subject) if self.tiles else None

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON in UTF-8, with its seal."""
        # asdict() would copy every id and digest.
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "tiles" or self.tiles}
        version = TILED_VERSION if self.tiles else VERSION
        head = {"format": FORMAT, "version": version, "count": len(self.ids)}
        text = json.dumps({**head, **own}, separators=(",", ":")).encode()[:-1]
        return text + f',"seal":"{digest(text)}"}}'.encode()

    @classmethod
    def from_bytes(cls, data: Buffer, subject: object) -> Manifest:
        """Return the manifest that `to_bytes` wrote; messages name `subject`.

        Raises
        ------
        StoreError
            When the bytes are not a manifest, differ from those that were sealed, or are of another version.
        """
        remedy = "it is damaged or from elsewhere; remove it and run again"
        try:
            # A sparse file may claim gigabytes: copy only what begins and ends like a manifest.
            if len(data) > LARGE and not (data[:1] == b"{" and SEAL.fullmatch(data, len(data) - SEAL_SIZE)):
                raise ValueError("no manifest")
            data = bytes(data)
            values = json.loads(data)
        except (ValueError, RecursionError):
            raise StoreError(f"{subject}: its manifest is not readable: {remedy}") from None
        if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
            raise StoreError(f"{subject}: its manifest is not slidemill's: {remedy}")
        version = values.pop("version", None)
        if version != (TILED_VERSION if values.get("tiles") else VERSION):
            older = isinstance(version, int) and version < VERSION
            raise StoreError(
                f"{subject}: has version {version} of the format, and this slidemill reads {VERSION}: "
                + ("remove it and run again" if older else "upgrade it")
            )
        seal = SEAL.fullmatch(data, max(len(data) - SEAL_SIZE, 0))
        if not seal or seal[1].decode() != digest(memoryview(data)[:-SEAL_SIZE]) or values.pop("seal", None) is None:
            raise StoreError(f"{subject}: its manifest is not as it was sealed: {remedy}")
        count = values.pop("count", None)
        if wrong := [name for name, kinds in KINDS.items() if name in values and not _is_kind(values[name], kinds)]:
            raise StoreError(f"{subject}: its manifest holds a value of another kind as {wrong[0]}: {remedy}")
        try:
            for column in COLUMNS:
                values[column] = tuple(values[column])
            manifest = cls(**values)
        except (KeyError, TypeError):
            raise StoreError(f"{subject}: its manifest lacks or adds a key: {remedy}") from None
        stored = manifest.ids if manifest.tiles is None else manifest.byte_digests
        columns = (manifest.ids, manifest.pixel_digests or manifest.ids)
        # Ids become names of files.
        are_ids = all(map(PATCH_ID.fullmatch, manifest.ids))
        if not (are_ids and 0 < manifest.patch_size <= LARGEST_PATCH):
            raise StoreError(f"{subject}: its manifest holds an id or a size that is not valid: {remedy}")
        is_whole = all(len(column) == count for column in columns) and len(manifest.byte_digests) == len(stored)
        if manifest.encoding not in ENCODINGS or not is_whole or not _are_tiles(manifest):
            raise StoreError(f"{subject}: its manifest contradicts itself: {remedy}")
        return manifest


def _are_tiles(manifest: Manifest) -> bool:
    """Return whether the grid of a store of tiles is valid; True for other stores."""
    if manifest.tiles is None:
        return True
    try:
        grid = TileGrid.from_json(manifest.tiles)
    except (ValueError, TypeError, KeyError):
        return False
    return (grid.patch_size, manifest.encoding) == (manifest.patch_size, "source")


def _is_kind(value: object, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and (not isinstance(value, list) or all(isinstance(text, str) for text in value))
