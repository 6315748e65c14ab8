"""Embed pictures in an HTML page, within a budget of bytes."""

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
"""Bytes of pictures in a page; base64 adds a third."""

LONGEST = 360
"""Pixels of a thumbnail's longer side."""

QUALITY = 72


@dataclass(frozen=True, slots=True)
class EmbeddedPicture:
    """A picture that is embedded in a page.

    Parameters
    ----------
    url
        Its bytes as a data URL.
    width, height
        Its size in pixels.
    large
        The file of which it is a thumbnail, relative to the page; empty for a picture at its full size.
    """

    url: str
    width: int
    height: int
    large: str = ""


def embed_pictures(
    files: Mapping[str, Sequence[Path]], order: Iterable[str], folder: Path, *, budget: int = BUDGET
) -> dict[str, tuple[EmbeddedPicture, ...]]:
    """Return the pictures of each slide that fit into a page, in the order of `files`.

    If not all of them fit at full size, they are thumbnails, of as many slides as fit.

    Parameters
    ----------
    files
        JPEG files by slide.
    order
        All slides, the most important first.
    folder
        The folder of the page.
    budget
        Bytes of the pictures before base64.

    Raises
    ------
    SlidemillError
        When a picture cannot be read.
    """
    if sum(file.stat().st_size for own in files.values() for file in own) <= budget:
        return {slide: tuple(map(embed_file, own)) for slide, own in files.items()}
    chosen: dict[str, tuple[EmbeddedPicture, ...]] = {}
    for slide in order:
        own = [_thumbnail(file, folder) for file in files[slide]]
        budget -= sum(size for size, _ in own)
        if budget < 0:
            break
        chosen[slide] = tuple(picture for _, picture in own)
    return {slide: chosen[slide] for slide in files if slide in chosen}


def embed_file(file: Path) -> EmbeddedPicture:
    """Embed a PNG or JPEG file at its full size.

    Raises
    ------
    SlidemillError
        When it cannot be read.
    """
    try:
        return embed_bytes(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error) from error


def embed_bytes(picture: bytes) -> EmbeddedPicture:
    """Embed the bytes of a PNG or JPEG."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        kind = str(image.format).lower()
        return EmbeddedPicture(f"data:image/{kind};base64,{base64.b64encode(picture).decode()}", *image.size)


def relative_url(file: Path, folder: Path) -> str:
    """Return the URL of a file for a page in `folder`."""
    return quote(Path(os.path.relpath(file, folder)).as_posix())


def _thumbnail(file: Path, folder: Path) -> tuple[int, EmbeddedPicture]:
    """Return the size of a thumbnail in bytes, and the thumbnail."""
    from PIL import Image

    try:
        with Image.open(file) as picture:
            # Decoding JPEG at a half or a quarter of its size takes a fraction of the time.
            picture.draft("RGB", (LONGEST, LONGEST))
            picture.thumbnail((LONGEST, LONGEST))
            written = io.BytesIO()
            picture.convert("RGB").save(written, "jpeg", quality=QUALITY)
    except OSError as error:
        raise _unreadable(file, error) from error
    return written.tell(), replace(embed_bytes(written.getvalue()), large=relative_url(file, folder))


def _unreadable(file: Path, error: OSError) -> SlidemillError:
    return SlidemillError(f"{file}: this picture cannot be read ({error}): remove it and run again")
