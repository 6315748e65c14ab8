"""Patches in a tar file, one member per patch, as webdataset streams them.

The members, in order:

- ``__offsets__``: little-endian int64 pairs of each patch's first byte and number of bytes, in the order of the ids;
  zeros for patches that could not be read; a last pair for the manifest.
- ``SLIDE/PATCH_ID.png`` (``.npy`` for raw, ``.jpg``): the patches in raster order. webdataset's key of a sample is the
  folder and the name up to its first dot, so that keys differ between slides.
- ``__manifest__``: the manifest. webdataset skips such names.

The offsets are in front, where their size is known before any patch, so that a store is one file. A file that another
program has rewritten is rejected: the headers of the offsets and the manifest, and the end, must be where they were
written, and the patches must be without gaps.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import xxhash

from slidemill.core.encodings import Buffer
from slidemill.core.files import keep_synced
from slidemill.core.patch import PatchRef
from slidemill.errors import StoreError
from slidemill.stores._mapped import REMEDY, MappedStore
from slidemill.stores.backend import FILES_OFFERED, Backend
from slidemill.stores.manifest import Manifest

OFFSETS_NAME = "__offsets__"
MANIFEST_NAME = "__manifest__"
PROVENANCE = "__provenance__"
"""The first member of an exported file, which is not a store."""
BLOCK = tarfile.BLOCKSIZE
PAIR = 16
"""Bytes of a patch's place in the member of offsets."""
END = bytes(2 * BLOCK)
BUFFER = 1024 * 1024
MOST_EXTRA = 1000
"""Members that are read beyond the number of patches in the manifest."""

Places = npt.NDArray[np.int64]


class Members:
    """Sequential writer of a tar file's members."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._end = 0

    def add(self, head: bytes, data: Buffer) -> tuple[int, int]:
        """Write a member; return the offset of its first byte, and its size in bytes."""
        start, size = self._end + BLOCK, len(data)
        self._file.write(head)
        self._file.write(data)
        self._file.write(bytes(-size % BLOCK))
        self._end = start + size + -size % BLOCK
        return start, size

    def end(self) -> None:
        """Write the end of the file."""
        self._file.write(END)


class TarWriter:
    """Writer of one member per patch, with offsets in their reserved space."""

    def __init__(self, file: IO[bytes], count: int, manifest: Manifest) -> None:
        self._file, self._members = file, Members(file)
        self._prefix, self._suffix = f"{manifest.slide}/", manifest.codec.suffix
        self._places: Places = np.zeros((count + 1, 2), "<i8")
        self._digest = xxhash.xxh3_128()
        self._count = 0
        self._members.add(header(OFFSETS_NAME, self._places.nbytes), self._places.tobytes())

    def add(self, patch: PatchRef, data: Buffer) -> None:
        """Store the encoded `data` of the next patch."""
        head = header(f"{self._prefix}{patch.patch_id}{self._suffix}", len(data))
        self._digest.update(head)
        self._places[self._count] = self._members.add(head, data)
        self._count += 1

    def index(self) -> str:
        """Return the digest of the patches' headers and places."""
        self._digest.update(self._places[:-1].tobytes())
        return self._digest.hexdigest()

    def finish(self, manifest: Manifest) -> None:
        """Store the manifest, the end of the file, and the offsets of all members."""
        data = manifest.to_bytes()
        self._places[-1] = self._members.add(header(MANIFEST_NAME, len(data)), data)
        self._members.end()
        self._file.seek(BLOCK)
        self._file.write(self._places.tobytes())


@contextmanager
def writing(path: Path, patches: Sequence[PatchRef], manifest: Manifest) -> Iterator[TarWriter]:
    """Create a store at `path` for writing; it is synced when the block ends."""
    with keep_synced(path), path.open("wb", buffering=BUFFER) as file:
        yield TarWriter(file, len(patches), manifest)


def header(name: str, size: int) -> bytes:
    """Return the header of a member, without owner and time.

    Raises
    ------
    StoreError
        When the name is too long for the format.
    """
    member = tarfile.TarInfo(name)
    member.size = size
    try:
        return member.tobuf(tarfile.USTAR_FORMAT, "utf-8", "strict")
    except ValueError as error:
        raise StoreError(f"{name}: cannot be the name of a tar member ({error}): give the slide a shorter id") from None


class TarStore(MappedStore):
    """A tar file, mapped for reading."""

    def stored_ids(self) -> list[str]:
        """Return the ids of patches and the names of other members, in the file's order.

        Raises
        ------
        StoreError
            When a header is broken.
        """
        found = []
        for name in self._names():
            if name in (OFFSETS_NAME, MANIFEST_NAME):
                continue
            own = name.startswith(f"{self.manifest.slide}/") and name.endswith(self._codec.suffix)
            found.append(name.rpartition("/")[2].removesuffix(self._codec.suffix) if own else name)
        return found

    def index_digest(self) -> str:
        """Return the digest of the patches' headers and places as stored now."""
        found, data = xxhash.xxh3_128(), self._data
        for start in self._starts:
            found.update(data[start - BLOCK : start])
        found.update(data[BLOCK : BLOCK + self._room - PAIR])
        return found.hexdigest()

    def _open(self) -> Manifest:
        self._map()
        data, size = self._data, len(self._data)
        self._room = _size_of_offsets(data)
        if not self._room or size % BLOCK or size < BLOCK + self._room + BLOCK + len(END):
            raise StoreError(f"{self.path}: is truncated, or no tar file of slidemill: {REMEDY}")
        places = np.frombuffer(data, "<i8", self._room // 8, BLOCK).reshape(-1, 2)
        start, length = places[-1].tolist()
        if not BLOCK < start <= size or not 0 <= length <= size - start:
            raise StoreError(f"{self.path}: has no place for its manifest: {REMEDY}")
        if data[start - BLOCK : start] != header(MANIFEST_NAME, length):
            raise StoreError(f"{self.path}: its manifest is not where it was written: {REMEDY}")
        if data[start + length : start + length + -length % BLOCK + len(END)] != bytes(-length % BLOCK) + END or (
            start + length + -length % BLOCK + len(END) != size
        ):
            raise StoreError(f"{self.path}: does not end after its manifest: {REMEDY}")
        manifest = Manifest.from_bytes(data[start : start + length], self.path)
        self._set_places(places, len(manifest.ids))
        return manifest

    def _set_places(self, places: Places, count: int) -> None:
        """Set the patches' offsets, which must be without gaps."""
        own = places[:count]
        fits = count < len(places) and not places[count:-1].any() and (own[:, 1] >= 0).all()
        if fits and (own[:, 1] <= len(self._data)).all():
            # The end of each patch, rounded up to blocks, and the header of the next.
            ends = own[:, 0] + own[:, 1] + -own[:, 1] % BLOCK + BLOCK
            first = BLOCK + self._room + -self._room % BLOCK + BLOCK
            if np.array_equal(np.append(own[:, 0], places[-1, 0]), np.append(first, ends)):
                self._starts, self._ends = own[:, 0].tolist(), own.sum(axis=1).tolist()
                return
        raise StoreError(f"{self.path}: its offsets do not fit {count} patches: {REMEDY}")

    def _names(self) -> Iterator[str]:
        """Yield the names of the members by their headers, not by the offsets."""
        data, place = self._data, 0
        for _ in range(len(self) + MOST_EXTRA):
            head = bytes(data[place : place + BLOCK])
            if head == END[:BLOCK]:
                return
            try:
                member = tarfile.TarInfo.frombuf(head, "utf-8", "backslashreplace")
            except tarfile.HeaderError as error:
                raise StoreError(f"{self.path}: the header at byte {place} is broken ({error}): {REMEDY}") from None
            yield member.name if member.isreg() else f"{member.name} (of type {member.type!r})"
            place += BLOCK + member.size + -member.size % BLOCK


def _size_of_offsets(data: memoryview) -> int:
    """Return the size of the offsets' member, or 0 if the file starts otherwise."""
    try:
        member = tarfile.TarInfo.frombuf(bytes(data[:BLOCK]), "utf-8", "backslashreplace")
        same = 0 < member.size < len(data) and data[:BLOCK] == header(OFFSETS_NAME, member.size)
    except tarfile.HeaderError:
        return 0
    return member.size if same and member.size % PAIR == 0 else 0


BACKEND = Backend("tar", writing, TarStore, raw_encoding="npy", offered=FILES_OFFERED)
