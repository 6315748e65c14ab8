"""Reading patches to the end, whatever becomes of a slide's tiles: all uses of pixels go on the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from slidemill.core.job_log import LOG
from slidemill.core.patch import PatchRef
from slidemill.errors import SlideError, SlidemillError, UnreadablePatchError
from slidemill.slides._tiled_tiff import TilesError
from slidemill.slides.grid import GridSpec
from slidemill.slides.reader_choice import opened_reader
from slidemill.slides.readers import Reader, unreadable_patches
from slidemill.slides.slide_info import SlideInfo

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Whole(Generic[Result]):
    """What was made of patches that were read.

    Parameters
    ----------
    result
        What was made of those that can be read.
    unreadable
        Why the others cannot, by their ids.
    reader, reader_reason
        What read them, and why that.
    """

    result: Result
    unreadable: dict[str, str]
    reader: str
    reader_reason: str


def read_whole(
    source: Path,
    info: SlideInfo,
    grid: GridSpec,
    patches: Sequence[PatchRef],
    choice: str,
    seed: int,
    use: Callable[[Reader, list[PatchRef]], Result],
    remedy: str = "reader auto",
) -> Whole[Result]:
    """Read patches: by OpenSlide where the slide's tiles fail, and without those that cannot be read.

    Parameters
    ----------
    source, info, grid, patches, choice, seed
        As `slidemill.slides.reader_choice.opened_reader` takes them.
    use
        Reads patches from a reader, and has ended all its threads when it returns or raises. It is called anew, from
        the first patch on, with another reader or fewer patches, when tiles or patches could not be read.
    remedy
        What to choose where tiles fail and nothing else may be taken.

    Raises
    ------
    SlideError
        When the slide cannot be opened, or not by the reader that is asked for.
    SlidemillError
        When a patch cannot be read, and then can be.
    """
    wanted = list(patches)
    unreadable: dict[str, str] = {}
    found = ""
    while True:
        try:
            with opened_reader(source, info, grid, wanted, choice, seed) as (reader, why):
                LOG.info("reader %s: %s", reader.name, found or why)
                return Whole(use(reader, wanted), unreadable, reader.name, found or why)
        except (TilesError, UnreadablePatchError) as error:
            if isinstance(error, TilesError) and choice != "tiles":
                choice, found = "openslide", str(error)
                continue
            reasons = unreadable_patches(source, info, grid, wanted)
            if not reasons and isinstance(error, UnreadablePatchError):
                raise SlidemillError(f"{error}; but read once more it can be: see to the disk, and run again") from None
            if not reasons:
                raise SlideError(f"{source.name}: {error}: see whether it is whole, or choose {remedy}") from None
            # Stores are sized by their count, so all is begun again without them; reading is deterministic, so that
            # whoever reads leaves out the same ones.
            unreadable |= reasons
            wanted = [patch for patch in wanted if patch.patch_id not in unreadable]
