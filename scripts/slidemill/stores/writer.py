"""Write a store: patches, index and manifest, published by one rename."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from slidemill.core.encodings import EncodedPatch
from slidemill.core.files import replacing
from slidemill.core.patch import PatchRef
from slidemill.errors import FULL, SlidemillError
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest

ROOM = 1_048_576
"""Free bytes of a disk below which an unexplained write error is called a full disk."""


def write_store(
    backend: Backend,
    path: Path,
    manifest: Manifest,
    *,
    patches: Sequence[PatchRef],
    stored: Iterable[tuple[PatchRef, EncodedPatch]],
    scratch: Path | None = None,
) -> Manifest:
    """Write a store and publish it at `path` by one rename; return its manifest.

    Parameters
    ----------
    backend
        The kind of store.
    path
        The path of the store.
    manifest
        The manifest without digests, and without ids but for a store of tiles.
    patches
        The patches, or the tiles as `slidemill.core.patch.PatchRef`, in raster order.
    stored
        The same as stored, each taken when the one before is written.
    scratch
        A folder to write in first, see `slidemill.core.files.replacing`.

    Raises
    ------
    OSError
        When the disk is full.
    """
    ids: list[str] = []
    byte_digests: list[str] = []
    pixel_digests: list[str] = []
    with (
        replacing(path, scratch) as aside,
        full_disk_errors(aside),
        backend.writing(aside, patches, manifest) as writer,
    ):
        for patch, (data, byte_digest, pixel_digest) in stored:
            writer.add(patch, data)
            ids.append(patch.patch_id)
            byte_digests.append(byte_digest)
            if pixel_digest:
                pixel_digests.append(pixel_digest)
        whole = replace(
            manifest,
            ids=manifest.ids if manifest.tiles else tuple(ids),
            byte_digests=tuple(byte_digests),
            pixel_digests=tuple(pixel_digests),
            index_digest=writer.index(),
        )
        writer.finish(whole)
    return whole


@contextmanager
def full_disk_errors(aside: Path) -> Iterator[None]:
    """Raise an OSError with ENOSPC if the block fails because the disk is full.

    HDF5 and LMDB raise other errors, and LMDB gives no reason after a partial write.
    """
    try:
        yield
    except SlidemillError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in FULL:
            error.filename = error.filename or str(aside.parent)
            raise
        is_named = any(os.strerror(code) in str(error) for code in FULL)
        if not is_named and shutil.disk_usage(aside.parent).free >= ROOM:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(aside.parent)) from error
