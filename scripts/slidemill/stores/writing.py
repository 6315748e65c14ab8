"""Writing a store: patch after patch, its manifest last, and published by one rename."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from slidemill.encodings import EncodedPatch
from slidemill.files import replacing
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest
from slidemill.stores.protocol import Backend


def write_store(
    backend: Backend,
    path: Path,
    manifest: Manifest,
    patches: Sequence[PatchRef],
    stored: Iterable[tuple[PatchRef, EncodedPatch]],
    scratch: Path | None = None,
) -> Manifest:
    """Write a store and publish it at `path` by one rename.

    Parameters
    ----------
    backend
        The kind of store.
    path
        Where it will stand.
    manifest
        What is known beforehand; ids and digests are filled in.
    patches
        The patches in raster order.
    stored
        The same patches as they are to be stored, each asked for when the one before is written.
    scratch
        A folder to write in first, as `slidemill.files.replacing` takes it.

    Returns
    -------
    Manifest
        The store's manifest as it was written.
    """
    ids: list[str] = []
    byte_digests: list[str] = []
    pixel_digests: list[str] = []
    with replacing(path, scratch) as aside, backend.writing(aside, patches, manifest) as writer:
        for patch, (data, byte_digest, pixel_digest) in stored:
            writer.add(patch, data)
            ids.append(patch.patch_id)
            byte_digests.append(byte_digest)
            if pixel_digest:
                pixel_digests.append(pixel_digest)
        whole = replace(
            manifest,
            ids=tuple(ids),
            byte_digests=tuple(byte_digests),
            pixel_digests=tuple(pixel_digests),
            index_digest=writer.index(),
        )
        writer.finish(whole)
    return whole
