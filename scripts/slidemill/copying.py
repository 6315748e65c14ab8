"""Patches that are a slide's own tiles: their JPEG bytes, made to stand alone, and never decoded."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from slidemill.encodings import EncodedPatch, digest
from slidemill.errors import SlideError
from slidemill.patches import PatchRef
from slidemill.readers import TileReader


def copied_patches(
    reader: TileReader, patch_size: int, patches: Sequence[PatchRef]
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield patches with their tiles' bytes, in the order given.

    The digest of the pixels is left out: it is taken when the store is validated.

    Raises
    ------
    SlideError
        When the patches are not the slide's tiles, one for one; the message says which patch size would be.
    TilesError
        When a tile cannot be copied.
    """
    # All are looked at before the first is copied.
    numbers = _tile_numbers(reader, patch_size, patches)
    for patch, number in zip(patches, numbers, strict=True):
        data = reader.level.standalone(number)
        yield patch, EncodedPatch(data, digest(data))


def _tile_numbers(reader: TileReader, patch_size: int, patches: Sequence[PatchRef]) -> list[int]:
    """Return the tile's number for each patch."""
    level = reader.level
    width, height = level.tile
    if not level.jpeg_head:
        raise SlideError(
            "encoding source copies JPEG tiles, and this slide's are compressed otherwise: choose png or zstd"
        )
    if width != height:
        raise SlideError(
            f"encoding source needs square tiles, and this slide's are {width} x {height}: choose another encoding"
        )
    numbers = []
    for patch in patches:
        region = reader.region(patch)
        (column, beside), (row, above) = divmod(region.left, width), divmod(region.top, height)
        whole = region.width == region.height == width == patch_size and patch.size == (width, height)
        if not whole or beside or above:
            raise SlideError(
                f"encoding source needs patches that are the slide's tiles, {width} x {height} at level "
                f"{reader.number}, and patch {patch.patch_id} is {region.width} x {region.height} at {region.left}, "
                f"{region.top}: set sampling to {{patch_size: {width}, level: {reader.number}}}, or choose another "
                "encoding"
            )
        numbers.append(row * level.across + column)
    return numbers
