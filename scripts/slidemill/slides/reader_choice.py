"""Choose a slide's reader, and read all its patches.

Where tiles fail, OpenSlide reads them.

A slide is read tile by tile where that is proven to give OpenSlide's pixels: its tiles must be of a known structure,
and samples of them, including edges and the last tile, must equal what OpenSlide reads. The structure is checked
whenever a slide is opened, and samples are compared once for the same content, grid and libraries.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import openslide

from slidemill.core.job_log import LOG
from slidemill.core.patch import PatchRef
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.core.stage_facts import ReaderFacts
from slidemill.errors import SlideError, SlidemillError, UnreadablePatchError
from slidemill.slides._tile_cutter import Region
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import unreadable_patches
from slidemill.slides.patch_table import SlidePatches, largest_read
from slidemill.slides.readers import PATCHES_UNDER_WAY, OpenSlideReader, Reader, TileReader
from slidemill.slides.slide_info import open_slide
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TilesError

COMPARED = 4
"""Patches chosen at random that are compared, in addition to those at the edges."""
LARGEST_COMPARED = 512
"""The largest width and height, in pixels, of the compared part of a patch or a tile."""
DECODERS = ("imagecodecs", "simplejpeg", "tifffile")
"""The packages that read tiles."""


@contextmanager
def open_reader(
    asked: SlidePatches, choice: str, seed: int, *, known: ReaderFacts | None = None
) -> Iterator[tuple[Reader, str]]:
    """Open a slide for reading its patches, and close it when the block ends.

    Parameters
    ----------
    asked
        The slide, and its patches that will be read.
    choice
        ``"tiles"``, ``"openslide"``, or ``"auto"``: tiles where they can be trusted, else OpenSlide.
    seed
        Of the random choice of the compared patches.
    known
        What `find_reader` returned for this grid of a slide of the same fingerprint: tiles that it trusts are not
        compared again, unless the libraries are others.

    Yields
    ------
    Reader, str
        The reader, and why it is this one.

    Raises
    ------
    SlideError
        When OpenSlide cannot open the slide, or `choice` is ``"tiles"`` and they cannot be read.
    UnreadablePatchError
        When `choice` is ``"tiles"`` and OpenSlide cannot read one of the patches that are compared.
    """
    with ExitStack() as stack:
        reader: Reader | None = None
        why = "as the configuration says"
        if choice != "openslide":
            try:
                reader, why = _open_trusted(stack, asked, seed, known=known)
            except TilesError as error:
                if choice == "tiles":
                    raise SlideError(
                        f"{asked.source.name}: its tiles cannot be used ({error}): choose reader auto, and another "
                        "encoding than source"
                    ) from None
                why = str(error)
            except UnreadablePatchError as error:
                if choice == "tiles":
                    raise
                why = str(error)
        if reader is None:
            reader = OpenSlideReader(stack.enter_context(open_slide(asked.source)), asked.info, asked.grid)
        yield reader, why


FORMS = {"jpeg": "JPEG", "jpeg2000": "JPEG 2000"}
"""The names of tiles that encoding source copies."""


def describe_readers(path: Path, info: SlideInfo, levels: Sequence[int]) -> list[str]:
    """Return a line for each native level: its reader, and its tiles or why OpenSlide reads it.

    Only the last tile is compared with OpenSlide's pixels.

    Raises
    ------
    SlideError
        When OpenSlide cannot open the slide.
    """
    lines = []
    for level in levels:
        with open_reader(SlidePatches(path, info, GridSpec(1, level=level), ()), "auto", 0) as (reader, why):
            if isinstance(reader, TileReader):
                width, height = reader.level.tile
                form = FORMS.get(reader.level.form, "which encoding source does not copy")
                why = f"tiles of {width} x {height} pixels, {form}"
            lines.append(f"level {level}: reader {reader.name} ({why})")
    return lines


def find_reader(asked: SlidePatches, seed: int) -> ReaderFacts:
    """Return which reader gives OpenSlide's pixels of a slide's patches, by comparing some of them.

    Parameters are those of `open_reader`. A slide that cannot be read at all is left to OpenSlide.
    """
    try:
        with ExitStack() as stack:
            _, why = _open_trusted(stack, asked, seed)
    except SlideError as error:
        return ReaderFacts(reader=OpenSlideReader.name, reason=str(error))
    return ReaderFacts(reader=TileReader.name, reason=why, versions=library_versions())


def is_trusted(found: ReaderFacts) -> bool:
    """Return whether `find_reader` trusted a slide's tiles, with the same versions of the libraries as now."""
    return found.reader == TileReader.name and dict(found.versions) == library_versions()


@cache
def library_versions() -> Mapping[str, str]:
    """Return the versions of the libraries whose pixels `find_reader` compares, by name; looking them up is slow."""
    from importlib.metadata import version  # loads the parser of e-mails, which most jobs do not need

    return {"openslide": openslide.__library_version__} | {name: version(name) for name in DECODERS}


def _open_trusted(
    stack: ExitStack, asked: SlidePatches, seed: int, *, known: ReaderFacts | None = None
) -> tuple[TileReader, str]:
    """Open a slide's tiles; return their reader, and why it can be trusted.

    `stack` closes the tiles.

    Raises
    ------
    TilesError
        When it cannot be trusted.
    UnreadablePatchError
        When OpenSlide cannot read one of the patches that are compared.
    """
    source, info, spec = asked.source, asked.info, asked.grid
    if largest_read(asked.patches) > PATCHES_UNDER_WAY:
        raise TilesError("its patches are shrunk from more pixels than are held at once")
    reader = TileReader(stack.enter_context(open_level(source, info, Grid(info.pyramid, spec).level)), info, spec)
    # A handle for the comparison only: after an error, OpenSlide reads nothing more from it.
    with open_slide(source) as slide:
        stated = [slide.properties.get(f"openslide.level[{reader.number}].tile-{side}") for side in ("width", "height")]
        if stated != [str(side) for side in reader.level.tile]:
            raise TilesError("it has tiles, but OpenSlide does not lay them side by side")
        if known and is_trusted(known):
            return reader, known.reason
        return reader, f"{_compare(reader, slide, asked.patches, seed=seed)} parts are as OpenSlide reads them"


def _compare(reader: TileReader, slide: openslide.OpenSlide, patches: Sequence[PatchRef], *, seed: int) -> int:
    """Check parts of the slide against OpenSlide, and return their number.

    Raises
    ------
    TilesError
        When one is not, or a patch does not consist of whole pixels of the level.
    UnreadablePatchError
        When OpenSlide cannot read one of the patches.
    """
    last = _last_tile(reader)
    chosen = [*dict.fromkeys(region for region in _chosen(reader, patches, seed) if region != last), last]
    for region in chosen:
        size = min(region.width, LARGEST_COMPARED), min(region.height, LARGEST_COMPARED)
        # The far corner: at the edge of the slide, that is where tiles may differ.
        part = Region(region.left + region.width - size[0], region.top + region.height - size[1], *size)
        place = part.left * reader.downsample, part.top * reader.downsample
        try:
            expected = np.asarray(slide.read_region(place, reader.number, size))
        except openslide.OpenSlideError as error:
            if region == last:
                # No patch may need it, and the others are as they are. It is compared last, since this ends the handle.
                return len(chosen) - 1
            raise UnreadablePatchError(f"OpenSlide cannot read {size} pixels at {place} ({error})") from None
        same = np.array_equal(expected[..., :3], reader.pixels(part))
        if not same or expected[..., 3].min() < 255:
            raise TilesError(f"its pixels at {place} of level {reader.number} are not those that OpenSlide reads")
    return len(chosen)


def _last_tile(reader: TileReader) -> Region:
    """Return the part of the last tile that is within the level."""
    (width, height), (tile_width, tile_height) = reader.level.size, reader.level.tile
    left, top = (width - 1) // tile_width * tile_width, (height - 1) // tile_height * tile_height
    return Region(left, top, width - left, height - top)


def _chosen(reader: TileReader, patches: Sequence[PatchRef], seed: int) -> Iterator[Region]:
    """Yield the regions to compare, except the last tile.

    They are the patches at the edges, and some chosen at random.
    """
    seen = [patch for patch in patches if min(patch.read_size) > 0]
    if seen:
        edges = (seen[0], max(seen, key=attrgetter("read_x0")), max(seen, key=attrgetter("read_y0")), seen[-1])
        by_chance = random.Random(seed).sample(seen, min(COMPARED, len(seen)))  # noqa: S311
        yield from map(reader.region, (*edges, *by_chance))


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Whole(Generic[Result]):
    """The result of reading all patches.

    Parameters
    ----------
    result
        What `use` returned for the patches that can be read.
    unreadable
        Why the others cannot be read, by their ids.
    reader, reader_reason
        The name of the reader, and why it was chosen.
    """

    result: Result
    unreadable: dict[str, str]
    reader: str
    reader_reason: str


def read_whole(
    asked: SlidePatches,
    choice: str,
    seed: int,
    *,
    use: Callable[[Reader, Sequence[PatchRef]], Result],
    remedy: str = "reader auto",
    known: ReaderFacts | None = None,
) -> Whole[Result]:
    """Read all readable patches, leave out others; use OpenSlide where tiles fail.

    Parameters
    ----------
    asked, choice, seed, known
        As `slidemill.slides.reader_choice.open_reader` takes them.
    use
        Reads patches from a reader, and ends all its threads before it returns or raises. When tiles or patches cannot
        be read, it is called again, from the first patch on, with another reader or fewer patches.
    remedy
        What to choose where tiles fail and no other reader is allowed.

    Raises
    ------
    SlideError
        When the slide cannot be opened, or not by the reader that is asked for.
    SlidemillError
        When a patch cannot be read, and can be in a second attempt.
    """
    unreadable: dict[str, str] = {}
    found = ""
    while True:
        try:
            with open_reader(asked, choice, seed, known=known) as (reader, why):
                LOG.info("reader %s: %s", reader.name, found or why)
                return Whole(use(reader, asked.patches), unreadable, reader.name, found or why)
        except (TilesError, UnreadablePatchError) as error:
            if isinstance(error, TilesError) and choice != "tiles":
                choice, found = "openslide", str(error)
                continue
            reasons = unreadable_patches(asked)
            if not reasons and isinstance(error, UnreadablePatchError):
                raise SlidemillError(f"{error}; but read once more it can be: check the disk, and run again") from None
            if not reasons:
                raise SlideError(
                    f"{asked.source.name}: {error}: check whether it is whole, or choose {remedy}"
                ) from None
            # Stores are sized by the number of patches, so reading begins again without these; it is deterministic, so
            # that every job leaves out the same ones.
            unreadable |= reasons
            readable = [patch for patch in asked.patches if patch.patch_id not in unreadable]
            asked = replace(asked, patches=readable)
