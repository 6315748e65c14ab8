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

FORMAT = "slidemill"
VERSION = 2
SEAL = re.compile(rb',"seal":"([0-9a-f]{32})"\}')
SEAL_SIZE = len(',"seal":""}') + 32
LARGE = 16 * 1024 * 1024
"""Manifests of more bytes are checked at both ends before they are copied into memory."""
LARGEST_PATCH = 4096
"""Largest patch_size, in pixels, that the configuration allows."""
PATCH_ID = re.compile(r"r\d{5,}_c\d{5,}")
COLUMNS = ("ids", "byte_digests", "pixel_digests")
KINDS: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("backend", "encoding", "slide", "fingerprint", "digest", "icc"), (str,)),
    **dict.fromkeys(("sampling", "versions"), (dict,)),
    **dict.fromkeys(COLUMNS, (list,)),
    "patch_size": (int,),
    "quality": (int, NoneType),
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
        index.csv of a folder, headers and places of a tar file; empty for LMDB.
    versions
        Versions of slidemill and OpenSlide, and of LittleCMS where it converted the pixels.
    icc
        What was done to the slide's colours, as `slidemill.slides.icc.colour_state` returns it.
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
        head = ("slide", "fingerprint", "encoding", "quality", "patch_size", "sampling", "icc")
        hashed = xxhash.xxh3_128(json.dumps([getattr(self, name) for name in head], sort_keys=True).encode())
        for column in (self.ids, self.byte_digests, self.pixel_digests):
            hashed.update("\n".join(column).encode())
            hashed.update(b";")
        return hashed.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON in UTF-8, with its seal."""
        # asdict() would copy every id and digest.
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        head = {"format": FORMAT, "version": VERSION, "count": len(self.ids)}
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
        if version != VERSION:
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
        columns = (manifest.ids, manifest.byte_digests, manifest.pixel_digests or manifest.ids)
        # Ids become names of files.
        are_ids = all(map(PATCH_ID.fullmatch, manifest.ids))
        if not (are_ids and 0 < manifest.patch_size <= LARGEST_PATCH):
            raise StoreError(f"{subject}: its manifest holds an id or a size that is not valid: {remedy}")
        if manifest.encoding not in ENCODINGS or any(len(column) != count for column in columns):
            raise StoreError(f"{subject}: its manifest contradicts itself: {remedy}")
        return manifest


def _is_kind(value: object, kinds: tuple[type, ...]) -> bool:
    return type(value) in kinds and (not isinstance(value, list) or all(isinstance(text, str) for text in value))
