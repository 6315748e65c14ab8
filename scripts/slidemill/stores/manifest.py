"""What a store says of itself, and by what it tells its own damage.

Digests of each patch's bytes and pixels tell damage in the pixels, `Manifest.index_digest` tells it in what a reader
gets beside them, and the seal, the last key of the JSON, in the manifest: it is a digest of all the bytes before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import xxhash

from slidemill.core.encodings import ENCODINGS, Buffer, Encoding, Shape, digest
from slidemill.errors import StoreError

FORMAT = "slidemill"
VERSION = 2
SEAL = re.compile(rb',"seal":"([0-9a-f]{32})"\}')
SEAL_SIZE = len(',"seal":""}') + 32
LARGE = 16 * 1024 * 1024
"""Bytes of a manifest that is looked at before it is copied into memory."""
LARGEST_PATCH = 4096
"""Largest patch_size in pixels that the configuration allows."""
PATCH_ID = re.compile(r"r\d{5,}_c\d{5,}")


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _is_column(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


COLUMNS = ("ids", "byte_digests", "pixel_digests")
KINDS: Mapping[str, Callable[[object], bool]] = {
    **dict.fromkeys(("backend", "encoding", "slide", "fingerprint", "digest", "icc"), _is_text),
    **dict.fromkeys(("sampling", "versions"), _is_mapping),
    **dict.fromkeys(COLUMNS, _is_column),
    "patch_size": _is_number,
    "quality": lambda value: value is None or _is_number(value),
}
"""What each value of a manifest must be: it may come from anywhere."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a store says of itself; two runs over the same slide give equal manifests.

    Parameters
    ----------
    backend, encoding, quality
        How the patches are stored; `quality` is JPEG's, else None.
    slide, fingerprint
        The slide's id, and the fingerprint of its content.
    patch_size
        Width and height of every patch.
    sampling
        The grid, as `slidemill.core.specs.GridSpec` takes it.
    digest
        Name of the digests' function.
    ids
        The patches' ids in raster order.
    byte_digests, pixel_digests
        A digest of each patch's stored bytes, and of its decoded pixels (empty where the encoding is lossy).
    index_digest
        A digest of what a reader gets beside the pixels, as the backend's `Store.index_digest` takes it: of HDF5 the
        names, types and shapes of its datasets, ids, coordinates and offsets; of files, index.csv; of tar files
        the patches' headers and places; empty for LMDB, which has nothing but its keys.
    versions
        Of slidemill and of OpenSlide; of LittleCMS too, where it converted the pixels.
    icc
        What was done to the slide's colours, as `slidemill.slides.icc.stated` says it; a store that does not say was
        written when there was nothing but ``"ignore"``.
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
        """A digest of what the store holds of which slide, whoever wrote it and when: 32 hex digits."""
        own = [
            self.slide,
            self.fingerprint,
            self.encoding,
            self.quality,
            self.patch_size,
            dict(self.sampling),
            self.icc,
        ]
        hashed = xxhash.xxh3_128(json.dumps(own, sort_keys=True).encode())
        for column in (self.ids, self.byte_digests, self.pixel_digests):
            hashed.update("\n".join(column).encode())
            hashed.update(b";")
        return hashed.hexdigest()

    def to_bytes(self) -> bytes:
        """Return the manifest as JSON in UTF-8, and its seal."""
        # Not asdict(), which would copy every id and digest first.
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        head = {"format": FORMAT, "version": VERSION, "count": len(self.ids)}
        text = json.dumps({**head, **own}, separators=(",", ":")).encode()[:-1]
        return text + f',"seal":"{digest(text)}"}}'.encode()

    @classmethod
    def from_bytes(cls, data: Buffer, subject: object) -> Manifest:
        """Return the manifest that `to_bytes` wrote.

        Raises
        ------
        StoreError
            When the bytes are no manifest, are not those that were sealed, or are of another version; `subject` names
            the store.
        """
        remedy = "it is damaged or from elsewhere; remove it and run again"
        try:
            # A file with holes may claim gigabytes: copy nothing that does not begin and end as a manifest does.
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
        if wrong := [name for name, right in KINDS.items() if name in values and not right(values[name])]:
            raise StoreError(f"{subject}: its manifest holds a value of another kind as {wrong[0]}: {remedy}")
        try:
            for column in COLUMNS:
                values[column] = tuple(values[column])
            manifest = cls(**values)
        except (KeyError, TypeError):
            raise StoreError(f"{subject}: its manifest lacks or adds a key: {remedy}") from None
        columns = (manifest.ids, manifest.byte_digests, manifest.pixel_digests or manifest.ids)
        # Ids become names of files, so nothing but an id may pass.
        if not all(PATCH_ID.fullmatch(patch_id) for patch_id in manifest.ids) or not (
            0 < manifest.patch_size <= LARGEST_PATCH
        ):
            raise StoreError(f"{subject}: its manifest holds an id or a size that is none: {remedy}")
        if manifest.encoding not in ENCODINGS or any(len(column) != count for column in columns):
            raise StoreError(f"{subject}: its manifest contradicts itself: {remedy}")
        return manifest
