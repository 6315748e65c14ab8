"""Describe a store of a slide's own tiles, out of which its patches are cut."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from slidemill.core.encodings import EncodedPatch, digest
from slidemill.core.patch import PatchRef
from slidemill.errors import SlideError
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.readers import TileReader, copied_tiles, tile_misfit
from slidemill.stores.manifest import Manifest
from slidemill.stores.tile_grid import TileGrid


def as_tiles(reader: TileReader, asked: SlidePatches, manifest: Manifest) -> tuple[Manifest, Sequence[PatchRef]]:
    """Return the manifest and the contents of a store that holds tiles, or the patches where they are the tiles.

    Raises
    ------
    SlideError
        When the patches are shrunk, or the tiles are no images by themselves.
    """
    if not tile_misfit(reader, manifest.patch_size, asked.patches):
        return manifest, asked.patches
    tiles = tiles_of(reader, asked)
    whole = replace(manifest, ids=tuple(patch.patch_id for patch in asked.patches), tiles=tiles.to_json())
    return whole, strips_of(reader, tiles, whole.ids)


def tiles_of(reader: TileReader, asked: SlidePatches) -> TileGrid:
    """Return the tiles that patches are cut out of.

    Raises
    ------
    SlideError
        When the patches are shrunk, or the tiles are no images by themselves.
    """
    level = reader.level
    if not level.form:
        raise SlideError(
            "encoding source copies JPEG and JPEG 2000 tiles, and this slide's are neither: choose png or zstd"
        )
    grid, apart = Grid(asked.info.pyramid, asked.grid), reader.downsample
    red, green, blue = bytes.fromhex(asked.info.background)
    tiles = TileGrid(
        form=level.form,
        head=level.jpeg_head.hex(),
        tile=level.tile,
        level=level.size,
        origin=(grid.origin[0] // apart, grid.origin[1] // apart),
        area=grid.size,
        patch_size=asked.grid.patch_size,
        overlap=asked.grid.overlap,
        background=(red, green, blue),
        apart=apart if asked.grid.is_free else 0,
    )
    for patch in asked.patches:
        across, down = tiles.extent(0, patch.column), tiles.extent(1, patch.row)
        is_read = across.length and down.length
        read = (across.first, down.first, across.length, down.length) if is_read else (0, 0, 0, 0)
        if (reader.region(patch), patch.size, patch.offset) != (read, patch.read_size, (across.offset, down.offset)):
            raise SlideError(
                f"encoding source needs patches of a native level, and patch {patch.patch_id} is shrunk from "
                f"{patch.read_size[0]} x {patch.read_size[1]} to {patch.size[0]} x {patch.size[1]} pixels: set "
                "sampling.level, or choose another encoding"
            )
    return tiles


def strips_of(reader: TileReader, tiles: TileGrid, ids: Sequence[str]) -> list[PatchRef]:
    """Return the strips of tiles that patches touch, in raster order."""
    size = tiles.strip * tiles.tile[0], tiles.tile[1]
    width, height = size[0] * reader.downsample, size[1] * reader.downsample
    refs = []
    for column, row in tiles.strips(ids):
        at = column * width, row * height
        refs.append(PatchRef(column, row, *at, width, height, reader.number, *at, size, size, (0, 0)))
    return refs


def copied_strips(
    reader: TileReader, manifest: Manifest, strips: Sequence[PatchRef], *, checked: bool = False
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield the strips of tiles of a store, as `as_tiles` lists them, with their bytes.

    With `checked`, tiles are decoded, so that a broken one is found here.

    Raises
    ------
    TilesError
        When a tile cannot be copied, or decoded where that is asked for.
    """
    assert manifest.tiles is not None
    grid = TileGrid.from_json(manifest.tiles)
    wanted = grid.strips(manifest.ids)
    tiles = [(column, row) for (_, row), columns in wanted.items() for column in columns]
    copies = copied_tiles(reader, tiles, checked=checked)
    for strip, columns in zip(strips, wanted.values(), strict=True):
        data = grid.pack({column: next(copies) for column in columns})
        yield strip, EncodedPatch(data, digest(data))
