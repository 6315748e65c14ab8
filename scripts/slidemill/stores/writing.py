"""Writing a store: encode, digest, store, publish."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from slidemill.encodings import Pixels, digest
from slidemill.files import replacing
from slidemill.patches import PatchRef
from slidemill.stores.manifest import Manifest
from slidemill.stores.protocol import Backend


def write_store(
    backend: Backend,
    path: Path,
    manifest: Manifest,
    patches: Sequence[PatchRef],
    pixels: Iterable[tuple[PatchRef, Pixels]],
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
    pixels
        The same patches with their pixels, ``uint8 (height, width, 3)``, each read when it is asked for.

    Returns
    -------
    Manifest
        The store's manifest as it was written.
    """
    ids: list[str] = []
    byte_digests: list[str] = []
    pixel_digests: list[str] = []
    codec = manifest.codec
    with replacing(path) as aside, backend.writing(aside, patches, manifest) as writer:
        for patch, array in pixels:
            data = codec.encode(array, manifest.quality)
            writer.add(patch, data)
            ids.append(patch.patch_id)
            byte_digests.append(digest(data))
            if codec.lossless:
                pixel_digests.append(byte_digests[-1] if codec.name == "raw" else digest(array))
        whole = replace(manifest, ids=tuple(ids), byte_digests=tuple(byte_digests), pixel_digests=tuple(pixel_digests))
        writer.finish(whole)
    return whole
