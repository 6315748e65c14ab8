"""Stores of tiles that come from no slide, with the pixels of the patches that are cut out of them."""

from dataclasses import replace

import numpy as np
import simplejpeg

from slidemill.core.encodings import EncodedPatch, digest
from slidemill.core.patch import PatchRef
from slidemill.core.specs import GridSpec, StoreSpec
from slidemill.stages.store import new_manifest
from slidemill.stores.registry import STORES
from slidemill.stores.tile_grid import TileGrid
from slidemill.stores.writer import write_store
from tests.results import FINGERPRINT

TILE = (48, 32)


def write_tile_store(backend, path, picture, patches, *, size, slide="slide"):
    """Write a store over the JPEG tiles of a picture; return the patches' pixels, cut by the slow, plain way.

    `patches` are those of a grid without overlap; `size` is their side.
    """
    height, width = picture.shape[:2]
    across, down = -(-width // TILE[0]), -(-height // TILE[1])
    whole = np.zeros((down * TILE[1], across * TILE[0], 3), np.uint8)
    whole[:height, :width] = picture
    streams = {}
    for row in range(down):
        for column in range(across):
            area = slice(row * TILE[1], (row + 1) * TILE[1]), slice(column * TILE[0], (column + 1) * TILE[0])
            streams[column, row] = simplejpeg.encode_jpeg(np.ascontiguousarray(whole[area]), 90, "RGB", "444")
            whole[area] = simplejpeg.decode_jpeg(streams[column, row], "RGB")
    grid = TileGrid(
        form="jpeg",
        head="",
        tile=TILE,
        level=(width, height),
        origin=(0, 0),
        area=(width, height),
        patch_size=size,
        overlap=0,
        background=(255, 255, 255),
    )
    kind, spec = STORES[backend], GridSpec(size, level=0)
    manifest = new_manifest(kind, StoreSpec("source"), slide, fingerprint=FINGERPRINT, grid=spec)
    manifest = replace(manifest, ids=tuple(patch.patch_id for patch in patches), tiles=grid.to_json())
    stored = []
    for (column, row), tiles in grid.strips(manifest.ids).items():
        data = grid.pack({tile: streams[tile, row] for tile in tiles})
        ref = PatchRef(column, row, 0, 0, 1, 1, 0, 0, 0, TILE, TILE, (0, 0))
        stored.append((ref, EncodedPatch(data, digest(data))))
    write_store(kind, path, manifest, patches=[ref for ref, _ in stored], stored=stored)
    return np.stack([whole[patch.y0 : patch.y0 + size, patch.x0 : patch.x0 + size] for patch in patches])
