"""Write a store: patches, index and manifest, published by one rename."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from slidemill.core.encodings import EncodedPatch
from slidemill.core.files import replacing
from slidemill.core.patch import PatchRef
from slidemill.errors import full_disk_errors
from slidemill.stores.backend import Backend
from slidemill.stores.manifest import Manifest


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
