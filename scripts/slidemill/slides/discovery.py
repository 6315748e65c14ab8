"""Find slides, and give each an id that is unique, readable and safe in a path.

No slide is opened: the Snakefile lists slides on every start, in every job of a cluster.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes

from slidemill.core.files import is_folder
from slidemill.errors import ConfigError, SlideError
from slidemill.slides.annotation_matching import Matches, match_annotations
from slidemill.slides.file_endings import EXTENSIONS, ignored_files, slide_folders

STEM_LENGTH = 80


@dataclass(frozen=True, slots=True)
class SlideFile:
    """A slide that was found in a folder or listed in a sheet.

    Parameters
    ----------
    slide
        The slide's id: letters, digits, ``.``, ``_`` and ``-``.
    path
        The file, relative to the folder of slides (or of the sheet), percent-encoded so that any name fits into a
        table, a log or a job's parameters; `decode_path` returns the real one.
    annotation
        The annotation, relative to the folder of annotations (or of the sheet), percent-encoded; or None.
    columns
        Further columns of the sheet.
    mpp
        Micrometres per level-0 pixel from the sheet, or None.
    tissue_mask
        The file of a custom tissue mask, in the form of `annotation`; or None.
    coordinates
        The file of the coordinates of its patches, relative to the folder of these files, percent-encoded; or None.
    """

    slide: str
    path: str
    annotation: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    mpp: float | None = None
    tissue_mask: str | None = None
    coordinates: str | None = None


def encode_path(path: Path) -> str:
    """Percent-encode a path of any bytes, except readable characters."""
    return quote_from_bytes(os.fsencode(path), safe="/ ()+,=@~")


def decode_path(path: str) -> Path:
    """Return the path that `encode_path` encoded."""
    return Path(os.fsdecode(unquote_to_bytes(path)))


def slide_id(path: Path) -> str:
    """Return the id of the slide at `path`, relative to the folder of slides.

    It is the stem, in ASCII, and ten hex digits of a hash of the path. So it does not depend on other slides, and
    differs between thousands of slides of one stem.
    """
    stem = unicodedata.normalize("NFKD", path.stem).encode("ascii", "ignore").decode()
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", stem)[:STEM_LENGTH].lstrip("._-") or "slide"
    return f"{stem}-{hashlib.blake2b(os.fsencode(path), digest_size=5).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Found:
    """The slides of a folder, and the matched annotations and masks.

    Annotations or masks are None if no folder of them is given.
    """

    slides: list[SlideFile]
    annotations: Matches | None = None
    masks: Matches | None = None


def find_slides(
    root: Path, annotations: Path | None = None, skip: Path | None = None, *, masks: Path | None = None
) -> list[SlideFile]:
    """Return only the slides that `search_slides` finds."""
    return search_slides(root, annotations, skip, masks=masks).slides


def search_slides(
    root: Path, annotations: Path | None = None, skip: Path | None = None, *, masks: Path | None = None
) -> Found:
    """Return the slides below the folder `root`, and the files that match them.

    The slides are sorted by path. Several files can be one slide: a .mrxs with its folder, the .dcm files of a folder.
    Links to folders are not followed, and hidden files and folders are ignored.

    Parameters
    ----------
    root
        The folder of slides.
    annotations
        The folder of annotations, ``<stem>.xml``, ``.geojson``, ``.json``, or a label image, ``.png`` or ``.tif``, at
        the slide's relative path or anywhere below: see `slidemill.slides.annotation_matching.match_annotations`.
        Among the slides, a ``.tif`` is a slide.
    skip
        A folder that is not searched: the results, which may be among the slides.
    masks
        The folder of tissue masks, which are matched as annotations are.

    Raises
    ------
    ConfigError
        When the folder is missing or has no slide, or when an annotation fits two slides, or two fit one, or a file may
        be a slide or another's label image.
    """
    if not is_folder(root):
        raise ConfigError(
            f"slides: {root} is not a folder: name the folder that holds the slides, or a .csv or .tsv sheet"
        )
    paths = sorted(_slide_paths(root, skip), key=os.fsencode)
    if not paths:
        others = ignored_files(root, skip)
        raise ConfigError(
            f"slides: no slide found in {root}{f' ({others})' if others else ''}: its files should end in one of "
            f"{', '.join(EXTENSIONS)}"
        )
    matched = match_annotations(root, paths, annotations, skip=skip) if annotations else None
    masked = match_annotations(root, paths, masks, skip=skip, key="tissue.masks") if masks else None
    slides = [
        SlideFile(slide_id(path), encode_path(path), _own(matched, path), tissue_mask=_own(masked, path))
        for path in paths
    ]
    check_unique(slides, "two slides' paths give one id: rename one of the files")
    return Found(slides, matched, masked)


def _own(matches: Matches | None, slide: Path) -> str | None:
    """Return a slide's annotation or mask in the form of `SlideFile`, or None."""
    path = matches.by_slide.get(slide) if matches else None
    return encode_path(path) if path else None


def slide_path(root: Path, path: str) -> Path:
    """Return the file of a slide or an annotation from its path in `SlideFile`.

    Raises
    ------
    SlideError
        When it does not exist, or cannot be accessed.
    """
    found = root / decode_path(path)
    try:
        found.stat()
    except FileNotFoundError:
        raise SlideError(f"{found.name}: does not exist in {found.parent}: restore it, or correct the path") from None
    except OSError as error:
        raise SlideError(
            f"{found.name}: {error.strerror}: see its permissions in {found.parent}, or correct the path"
        ) from None
    return found


def _slide_paths(root: Path, skip: Path | None) -> Iterator[Path]:
    """Yield the slides' files, relative to `root`."""
    for here, files in slide_folders(root, skip):
        # All .dcm files of a folder are one slide.
        further = set([name for name in files if Path(name).suffix.lower() == ".dcm"][1:])
        for name in files:
            if Path(name).suffix.lower() in EXTENSIONS and name not in further:
                yield (here / name).relative_to(root)


def check_unique(slides: list[SlideFile], complaint: str) -> None:
    """Check that all slides have different ids, regardless of letter case.

    Raises
    ------
    ConfigError
        With `complaint`, when two have the same.
    """
    count = Counter(slide.slide.casefold() for slide in slides)
    for slide in slides:
        if count[slide.slide.casefold()] > 1:
            same = [other.path for other in slides if other.slide.casefold() == slide.slide.casefold()]
            raise ConfigError(f"slide {slide.slide} ({' and '.join(same)}): {complaint}")
