"""The pictures that a page of HTML holds in itself, within a number of bytes."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from slidemill.errors import SlidemillError

BUDGET = 6_000_000
"""Bytes of pictures that a page holds; in base64 they are a third more."""

LONGEST = 360
"""Pixels of a thumbnail's longer side."""

QUALITY = 72


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture on a page.

    Parameters
    ----------
    url
        Its bytes, as a data URL.
    width, height
        Its pixels.
    large
        The file that it is a thumbnail of, relative to the page; empty where it is the file itself.
    """

    url: str
    width: int
    height: int
    large: str = ""


def shown_pictures(
    files: Mapping[str, Sequence[Path]], first: Iterable[str], folder: Path, budget: int = BUDGET
) -> dict[str, tuple[Shown, ...]]:
    """Return the pictures of each slide that a page has room for, in the order of `files`.

    All as they are, where they fit into the budget together; else thumbnails, of as many slides as these fit.

    Parameters
    ----------
    files
        JPEG files by slide.
    first
        All slides, those first that are to have room first.
    folder
        Where the page will stand.
    budget
        Bytes that the pictures may take before base64.
    """
    if sum(file.stat().st_size for own in files.values() for file in own) <= budget:
        return {slide: tuple(whole(file) for file in own) for slide, own in files.items()}
    chosen: dict[str, tuple[Shown, ...]] = {}
    for slide in first:
        own = [_thumbnail(file, folder) for file in files[slide]]
        budget -= sum(size for size, _ in own)
        if budget < 0:
            break
        chosen[slide] = tuple(shown for _, shown in own)
    return {slide: chosen[slide] for slide in files if slide in chosen}


def whole(file: Path) -> Shown:
    """Return a PNG or JPEG file as it is.

    Raises
    ------
    SlidemillError
        When it is none.
    """
    try:
        return shown(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from error


def shown(picture: bytes) -> Shown:
    """Return the bytes of a PNG or JPEG as a picture on a page."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        kind = str(image.format).lower()
        return Shown(f"data:image/{kind};base64,{base64.b64encode(picture).decode()}", *image.size)


def relative_url(file: Path, folder: Path) -> str:
    """Return the URL of a file for a page in `folder`."""
    return quote(Path(os.path.relpath(file, folder)).as_posix())


def _thumbnail(file: Path, folder: Path) -> tuple[int, Shown]:
    """Return how many bytes a thumbnail takes, and the thumbnail."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            # JPEG decodes to a half or a quarter in a fraction of the time.
            picture.draft("RGB", (LONGEST, LONGEST))
            picture.thumbnail((LONGEST, LONGEST))
            written = io.BytesIO()
            picture.convert("RGB").save(written, "jpeg", quality=QUALITY)
    except OSError as error:
        raise _unreadable(file, error) from error
    return written.tell(), replace(shown(written.getvalue()), large=relative_url(file, folder))


def _unreadable(file: Path, error: OSError) -> SlidemillError:
    return SlidemillError(f"{file}: this picture cannot be read ({error}): remove it and run again")
