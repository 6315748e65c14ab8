"""Patches as a Zarr array: one folder per slide, read by any program that reads Zarr version 3.

The folder is an array, ``uint8 (n, height, width, 3)``, as the specification of Zarr's core and its codec
``sharding_indexed`` define it (https://zarr-specs.readthedocs.io/en/latest/v3/):

- ``zarr.json``: the array's metadata.
- ``c.0.0.0.0``, ``c.1.0.0.0``, ...: shards of many patches. A patch is a chunk, raw or a zstd frame; at the end of a
  shard, its index has the first byte and the number of bytes of each patch, ``uint64`` little-endian, all bits set for
  a missing one, and then the CRC-32C of these, ``uint32``.
- ``index.csv``: ids and coordinates; its rows are in the array's order.
- ``manifest.json``: the manifest.

Chunks are the bytes that slidemill encodes, so that neither writing nor reading needs zarr-python, which does not give
the bytes that digests need, takes longer, and reads in a thread that does not survive a fork.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import xxhash

from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import RAW, ZSTD, ZSTD_LEVEL, Buffer, Shape
from slidemill.core.files import file_digest, sync
from slidemill.core.patch import PatchRef
from slidemill.core.results_layout import MANIFEST
from slidemill.core.text import AGAIN
from slidemill.errors import StoreError
from slidemill.stores._folder import INDEX, Folder, FolderStore
from slidemill.stores.backend import Backend
from slidemill.stores.base import LentBytes
from slidemill.stores.manifest import Manifest

ARRAY = "zarr.json"
INDEX_COLUMNS = ("patch_id", "column", "row", "x0", "y0", "width0", "height0")
FILES = re.compile(rf"{re.escape(INDEX)}|{re.escape(MANIFEST)}|{re.escape(ARRAY)}|c\.\d+\.0\.0\.0")
SHARD_BYTES, MOST_OF_A_SHARD = 128 * 1024 * 1024, 4096
"""Most bytes of raw pixels in a shard, and most patches."""
PLACE, CHECKSUM = 16, 4
"""Bytes of a patch's place in a shard's index, and of the index's checksum."""
NOTHING = b"\xff" * PLACE
"""The place of a chunk that a shard lacks."""
OPEN = 8
"""Shards that a store holds mapped, each with a file handle."""
_FRAME = {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": True}}
CODECS: dict[str, list[dict[str, Any]]] = {RAW.name: [], ZSTD.name: [_FRAME]}
"""By encoding, the codecs of Zarr that follow ``bytes``."""
CASTAGNOLI = 0x82F63B78
"""The polynomial of CRC-32C, bits reversed (RFC 3720, 12.1)."""


def shard_patches(shape: Shape, count: int) -> int:
    """Return the number of patches of a shard: a power of two, or all `count`, since an index has places for each."""
    fitting = min(SHARD_BYTES // math.prod(shape), MOST_OF_A_SHARD)
    return max(min(1 << max(fitting.bit_length() - 1, 0), count), 1)


def shard_name(number: int) -> str:
    """Return the name of a shard's file: Zarr's default key of a chunk, with dots so that the folder is flat."""
    return f"c.{number}.0.0.0"


def array_metadata(manifest: Manifest, each: int, count: int) -> bytes:
    """Return ``zarr.json`` of a store with `count` patches, `each` in a shard."""
    shape = manifest.shape
    values = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [count, *shape],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [each, *shape]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
        "fill_value": 0,
        "codecs": [
            {
                "name": "sharding_indexed",
                "configuration": {
                    "chunk_shape": [1, *shape],
                    "codecs": [{"name": "bytes"}, *CODECS[manifest.encoding]],
                    "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
                    "index_location": "end",
                },
            }
        ],
        "dimension_names": ["patch", "y", "x", "channel"],
        "attributes": {"slide": manifest.slide, "index": INDEX, "manifest": MANIFEST},
    }
    return json.dumps(values, indent=1).encode()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of a few bytes."""
    table, value = _crc_table(), 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@cache
def _crc_table() -> list[int]:
    """Return the CRC of each byte."""
    values = list(range(256))
    for _ in range(8):
        values = [value >> 1 ^ CASTAGNOLI * (value & 1) for value in values]
    return values


class ZarrWriter:
    """Writer of shards, each synced while the next one is written."""

    def __init__(self, folder: Path, manifest: Manifest, count: int, *, syncing: ThreadPoolExecutor) -> None:
        self._folder, self._manifest, self._syncing = folder, manifest, syncing
        self._each = shard_patches(manifest.shape, count)
        self._patches: list[PatchRef] = []
        self._shard: IO[bytes] | None = None
        self._places: npt.NDArray[np.uint64] = np.empty((self._each, 2), "<u8")
        self._digest = xxhash.xxh3_128()
        self._synced: Future[None] | None = None

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        number, place = divmod(len(self._patches), self._each)
        if self._shard is None:
            self._shard = (self._folder / shard_name(number)).open("xb")
            self._places[:], self._end = np.frombuffer(NOTHING, "<u8"), 0
        self._shard.write(data)
        self._places[place] = self._end, len(data)
        self._end += len(data)
        self._patches.append(patch)
        if place == self._each - 1:
            self._end_shard()

    def index(self) -> str:
        """Store the last shard, the array's metadata and the index; return the digest of them all."""
        self._end_shard()
        array = array_metadata(self._manifest, self._each, len(self._patches))
        (self._folder / ARRAY).write_bytes(array)
        rows = ({name: getattr(patch, name) for name in INDEX_COLUMNS} for patch in self._patches)
        write_table(self._folder / INDEX, INDEX_COLUMNS, rows)
        return _end_digest(self._digest, array, self._folder / INDEX)

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest."""
        (self._folder / MANIFEST).write_bytes(manifest.to_bytes())

    def close(self) -> None:
        """Close the shard that a failure has left open; wait until all others are synced."""
        if self._shard is not None:
            self._shard.close()
        if self._synced is not None:
            self._synced.result()

    def _end_shard(self) -> None:
        """Store the index of the shard, if one is open, and begin to sync it."""
        if self._shard is None:
            return
        index = self._places.tobytes()
        index += crc32c(index).to_bytes(CHECKSUM, "little")
        self._digest.update(index)
        self._shard.write(index)
        self._shard.close()
        self._shard = None
        if self._synced is not None:
            self._synced.result()
        self._synced = self._syncing.submit(sync, self._folder / shard_name((len(self._patches) - 1) // self._each))


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[ZarrWriter]:
    """Create a store, the folder `path`, for writing; sync it at the end."""
    path.mkdir()
    with (
        ThreadPoolExecutor(1) as syncing,
        closing(ZarrWriter(path, manifest, len(patches), syncing=syncing)) as writer,
    ):
        yield writer
    for file in (path / ARRAY, path / INDEX, path / MANIFEST, path):
        sync(file)


class ZarrStore(FolderStore):
    """A Zarr array, whose shards are read by patch."""

    backend = "zarr"

    def stored_ids(self) -> list[str]:
        """Return indexed ids whose chunks exist, then chunks and files that are not in the index.

        Raises
        ------
        StoreError
            When the index or a shard cannot be read, or another folder has replaced the opened one.
        """
        with self._index() as path:
            ids = [row["patch_id"] for row in read_table(path, INDEX_COLUMNS)]
            names = {file.name for file in self.path.iterdir() if not file.name.startswith(".")}
        there = [place for shard in self._shards_there() for place in shard.filled()]
        known = {INDEX, MANIFEST, ARRAY, *map(shard_name, range(self._count))}
        extra = [f"chunk {place}" for place in there if place >= len(ids)] + sorted(names - known)
        return [ids[place] for place in there if place < len(ids)] + extra

    def index_digest(self) -> str:
        """Return the digest of the shards' indices, zarr.json and index.csv; StoreError as in `stored_ids`."""
        found = xxhash.xxh3_128()
        for shard in self._shards_there():
            found.update(shard.index)
        with self._index() as path:
            return _end_digest(found, (self.path / ARRAY).read_bytes(), path)

    def _open(self) -> Manifest:
        manifest = super()._open()
        assert self._folder is not None
        count = len(manifest.byte_digests)
        try:
            values = json.loads(self._folder.read(ARRAY))
            each, *shape = values["chunk_grid"]["configuration"]["chunk_shape"]
            fits = values["shape"] == [count, *manifest.shape] and tuple(shape) == manifest.shape
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise StoreError(f"{self.path}: its {ARRAY} cannot be read ({error!r}): {AGAIN}") from None
        if not (fits and type(each) is int and 0 < each <= MOST_OF_A_SHARD):
            raise StoreError(f"{self.path}: its {ARRAY} does not fit {count} patches of its manifest: {AGAIN}")
        self._each, self._count = each, -(-count // each)
        # Refers to the folder only, so that the last reference to the store closes all files.
        self._shards = lru_cache(OPEN)(partial(_Shard, self._folder, each))
        return manifest

    def _shards_there(self) -> Iterator[_Shard]:
        return filter(None, map(self._shard, range(self._count)))

    def _shard(self, number: int) -> _Shard | None:
        """Return a shard; None where the file is missing."""
        if self._folder is None:
            raise StoreError(f"{self.path}: the store is closed: open it again to read from it")
        try:
            return self._shards(number)
        except FileNotFoundError:
            self._check_same()
            return None
        except OSError as error:
            raise self._fault(error, f"{shard_name(number)}: {error.strerror}: {AGAIN}") from None

    def _get(self, place: int, patch_id: str) -> LentBytes | None:
        shard = self._shard(place // self._each)
        return shard.read(place) if shard else None

    def _release(self) -> None:
        super()._release()
        self._shards.cache_clear()


class _Shard:
    """A shard's file, mapped until nothing refers to it."""

    def __init__(self, folder: Folder, each: int, number: int) -> None:
        file = folder.open(shard_name(number))
        try:
            self._data = memoryview(mmap.mmap(file, 0, access=mmap.ACCESS_READ))
        except ValueError:  # an empty file
            self._data = memoryview(b"")
        finally:
            os.close(file)
        self.first = number * each
        self._end = max(len(self._data) - each * PLACE - CHECKSUM, 0)
        self.index = bytes(self._data[self._end :])
        is_whole = len(self.index) == each * PLACE + CHECKSUM
        self._places = np.frombuffer(self.index if is_whole else NOTHING * each, "<u8", 2 * each).reshape(-1, 2)

    def filled(self) -> list[int]:
        """Return the places in the array of the chunks that the shard has."""
        there = (self._places != np.frombuffer(NOTHING, "<u8")).any(axis=1)
        return (np.flatnonzero(there) + self.first).tolist()

    def read(self, place: int) -> LentBytes | None:
        """Return the bytes of the array's chunk at `place` in the mapped file; None if missing or cut short."""
        start, size = self._places[place - self.first].tolist()
        return (self._data[start : start + size], None) if start + size <= self._end else None


def _end_digest(found: xxhash.xxh3_128, array: bytes, index: Path) -> str:
    """Return the digest of the shards' indices, `found`, with that of zarr.json and index.csv."""
    found.update(array)
    found.update(file_digest(index).encode())
    return found.hexdigest()


BACKEND = Backend("zarr", writing, ZarrStore, offered=(RAW.name, ZSTD.name), files=FILES)
