"""Recognise slides in a folder by their names' endings; count other files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from slidemill.core.files import is_folder, walk_folder
from slidemill.core.text import format_count
from slidemill.slides.annotation_matching import ANNOTATIONS

DRIVERS = {
    "aperio": (".svs", ".tif"),
    "dicom": (".dcm",),
    "generic-tiff": (".tif", ".tiff"),
    "hamamatsu": (".ndpi", ".vms", ".vmu"),
    "leica": (".scn",),
    "mirax": (".mrxs",),
    "philips": (".tiff",),
    "sakura": (".svslide",),
    "trestle": (".tif",),
    "ventana": (".bif", ".tif"),
    "zeiss": (".czi",),
}
"""OpenSlide's drivers (https://openslide.org/formats/), and the endings of their slides."""

EXTENSIONS = tuple(sorted({ending for own in DRIVERS.values() for ending in own}))
"""The endings of slides that OpenSlide opens."""

TEXTS = (
    ".csv .tsv .xls .xlsx .ods .parquet .txt .md .rst .rtf .doc .docx .odt .pdf .htm .html .log .yaml .yml .toml .ini "
    ".cfg .py .r .sh .groovy .ipynb .bib"
)
VIEWERS = ".xml .json .geojson .jsonl .annotations .ndpa .qpdata .qpproj"
PICTURES = ".png .jpg .jpeg .bmp .gif .webp .svg"
PARTS = ".opt .ngr"  # of Hamamatsu's slides
ARRAYS = ".npy .npz .h5 .hdf5 .pkl .pt"
RECORDS = ".md5 .sha1 .sha256 .sha512 .sfv .asc .sig .parcel .db .lnk .url"  # of downloads and of systems
USUAL = frozenset(" ".join((TEXTS, VIEWERS, PICTURES, PARTS, ARRAYS, RECORDS)).split())
"""Endings of files that are usual next to slides and need no warning."""

USUAL_NAMES = frozenset({"readme", "license", "licence", "changelog", "manifest", "md5sums", "sha256sums", "checksums"})
"""The same for files without an ending."""

MOST_NAMED = 8
"""Endings of ignored files that are named."""


def slide_folders(root: Path, skip: Path | None) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder that is searched for slides, with its sorted file names.

    Hidden files and folders are left out, and so are the folder `skip` and the folders that belong to .mrxs files.

    Raises
    ------
    ConfigError
        When a folder cannot be searched.
    """
    skipped = skip.resolve() if skip else None
    for folder, subfolders, names in walk_folder(root, "slides"):
        here = Path(folder)
        files = sorted(name for name in names if not name.startswith("."))
        companions = {Path(name).stem for name in files if Path(name).suffix.lower() == ".mrxs"}
        subfolders[:] = [
            name
            for name in subfolders
            if not name.startswith(".") and name not in companions and (here / name).resolve() != skipped
        ]
        yield here, files


def ignored_files(root: Path, skip: Path | None) -> str:
    """Return a count, by ending, of the ignored files in a folder of slides.

    It is text, and empty if there are none.

    Files that are usual next to slides are not counted. Others may be slides that OpenSlide cannot read.
    """
    names = [Path(name) for _, files in slide_folders(root, skip) for name in files]
    others = [name for name in names if not _is_usual(name)]
    if not others:
        return ""
    return f"{format_count(len(others), 'other file was', 'other files were')} ignored: {endings_of(others)}"


def endings_of(files: Iterable[Path]) -> str:
    """Return the endings of files with their counts, the most common first.

    An example is ``.vsi (2), .tmp (1)``.
    """
    endings = Counter(file.suffix.lower() for file in files)
    ordered = sorted(endings, key=lambda ending: (-endings[ending], ending))
    named = [f"{ending or 'no ending'} ({endings[ending]:,})" for ending in ordered[:MOST_NAMED]]
    if len(ordered) > MOST_NAMED:
        named.append(f"other endings ({sum(endings[ending] for ending in ordered[MOST_NAMED:]):,})")
    return ", ".join(named)


def ignored_warnings(slides: Path, results: Path) -> list[str]:
    """Return a warning if ignored files in the folder `slides` may be slides.

    A sheet gives none.
    """
    others = ignored_files(slides, results) if is_folder(slides) else ""
    return [f"slides: {others}: convert those that are slides, and move the others away"] if others else []


def _is_usual(name: Path) -> bool:
    """Return whether a file is a slide, or usual next to slides."""
    ending = name.suffix.lower()
    if ending in EXTENSIONS or ending in USUAL or name.name.lower().endswith(ANNOTATIONS):
        return True
    return not ending and name.stem.lower() in USUAL_NAMES
