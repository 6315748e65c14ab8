"""Patches that are a slide's own tiles: their JPEG bytes, made to stand alone, and never decoded."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from slidemill.core.encodings import EncodedPatch, digest
from slidemill.core.patch import PatchRef
from slidemill.errors import SlideError
from slidemill.slides.readers import TileReader

TOGETHER = 64
"""Tiles that are read at once, where they lie side by side in the file."""


def copied_patches(
    reader: TileReader, patch_size: int, patches: Sequence[PatchRef], checked: bool = False
) -> Generator[tuple[PatchRef, EncodedPatch]]:
    """Yield patches with their tiles' bytes, in the order given.

    The digest of the pixels is left out: it is taken when the store is validated. With `checked`, tiles are
    decoded all the same, so that a broken one is found here.

    Raises
    ------
    SlideError
        When the patches are not the slide's tiles, one for one; the message says which patch size would be.
    TilesError
        When a tile cannot be copied, or decoded where that is asked for.
    """
    # All are looked at before the first is copied. More threads would wait for each other: copying is Python's work.
    numbers = _tile_numbers(reader, patch_size, patches)
    buffer = reader.level.buffer()
    for start in range(0, len(numbers), TOGETHER):
        some = numbers[start : start + TOGETHER]
        for patch, number, data in zip(patches[start : start + TOGETHER], some, reader.level.data(some), strict=True):
            stream = reader.level.standalone(number, data)
            if checked:
                reader.level.pixels(number, data, buffer)
            yield patch, EncodedPatch(stream, digest(stream))


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
    apart = width * reader.downsample
    numbers = []
    for patch in patches:
        column, beside = divmod(patch.read_x0, apart)
        row, above = divmod(patch.read_y0, apart)
        if not (patch.read_size == patch.size == level.tile and patch_size == width) or beside or above:
            raise SlideError(
                f"encoding source needs patches that are the slide's tiles, {width} x {height} at level "
                f"{reader.number}, and patch {patch.patch_id} is {patch.read_size[0]} x {patch.read_size[1]} at "
                f"{patch.read_x0}, {patch.read_y0} of level 0: set sampling to {{patch_size: {width}, level: "
                f"{reader.number}}}, or choose another encoding"
            )
        numbers.append(row * level.across + column)
    return numbers
