"""Match annotations to slides by their names."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.files import is_folder, walk_folder
from slidemill.errors import ConfigError

ANNOTATIONS = (".annotations", ".geojson", ".json", ".png", ".tif", ".tiff", ".xml")
"""The endings of annotations."""

COMPRESSED = (".gz", ".zip")
"""The further endings of compressed annotations, which are found so that they can be refused by name."""


@dataclass(frozen=True, slots=True)
class Matches:
    """The files in a folder of annotations or tissue masks, by slide.

    Paths are relative to their folders.

    Parameters
    ----------
    by_slide
        The file of each slide that has one.
    unfit
        Files that fit no slide, or whose slide has another file.
    ignored
        Files with other endings, and links to folders: neither is opened.
    """

    by_slide: Mapping[Path, Path]
    unfit: tuple[Path, ...] = ()
    ignored: tuple[Path, ...] = ()


def match_annotations(
    above: Path, slides: list[Path], root: Path, *, skip: Path | None, key: str = "annotations"
) -> Matches:
    """Return which annotation, or tissue mask, belongs to which slide.

    A file fits a slide by the slide's stem or its whole file name: ``a.xml`` and ``a.svs.xml`` fit ``a.svs``. A file at
    the slide's relative path takes precedence over files elsewhere.

    Parameters
    ----------
    above, slides
        The folder of slides, and their paths in it.
    root
        The folder of annotations.
    skip
        A folder that is not searched.
    key
        The configuration key that names the folder.

    Raises
    ------
    ConfigError
        When the folder is missing, an annotation fits two slides, two fit one, or a file may be both.
    """
    if not is_folder(root):
        raise ConfigError(
            f"{key}: {root} is not a folder: name the folder of the {key.split('.')[-1]}, or null for none"
        )
    files = sorted(_files(root, skip, key))
    known = list(_other_than(slides, above, [path for path in files if _find_ending(path)], root=root, key=key))
    matched = _matched_in_place(slides, known, key)
    left = sorted(set(known) - set(matched.values()))
    matched |= _matched_by_name([slide for slide in slides if slide not in matched], left, key)
    unfit = tuple(sorted(set(left) - set(matched.values())))
    ignored = (path for path in files if not _find_ending(path))
    return Matches(matched, unfit, tuple(_find_unread(slides, above, root, files=ignored)))


def bare_name(path: Path) -> str:
    """Return the name of an annotation's file without its ending.

    Other files' names are returned without their suffix.
    """
    return path.name.removesuffix(_find_ending(path) or path.suffix)


def _find_ending(path: Path) -> str:
    """Return the ending of an annotation's name, in its own letter case.

    It is empty for other files.
    """
    packed = path.suffix if path.suffix.lower() in COMPRESSED else ""
    name = path.name.removesuffix(packed)
    end = next((end for end in ANNOTATIONS if name.lower().endswith(end)), "")
    return path.name[len(name) - len(end) :] if end else ""


def _files(root: Path, skip: Path | None, key: str) -> Iterator[Path]:
    """Yield the files below `root`, and links to folders, relative to it.

    Hidden files and folders are skipped.
    """
    skipped = skip.resolve() if skip else None
    for folder, subfolders, names in walk_folder(root, key):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if name[0] != "." and (here / name).resolve() != skipped]
        links = [name for name in subfolders if (here / name).is_symlink()]
        # A packed file may stay next to the unpacked one.
        spare = {name for name in names if Path(name).suffix.lower() in COMPRESSED and Path(name).stem in names}
        for name in (*names, *links):
            if name not in spare and not name.startswith("."):
                yield (here / name).relative_to(root)


def _matched_in_place(slides: list[Path], annotations: list[Path], key: str) -> dict[Path, Path]:
    """Return the annotations at the relative paths of their slides."""
    found: dict[Path, list[Path]] = defaultdict(list)
    for path in annotations:
        found[path.with_name(bare_name(path))].append(path)
    matched, fitting = {}, defaultdict(list)
    for slide in slides:
        candidates = [path for place in (slide.with_suffix(""), slide) for path in found.get(place, ())]
        if len(candidates) > 1:
            raise ConfigError(f"{key}: {slide} has two, {candidates[0]} and {candidates[1]}: take one of them away")
        for annotation in candidates:
            matched[slide] = annotation
            fitting[annotation].append(slide)
    _check_one_each(fitting, key)
    return matched


def _matched_by_name(slides: list[Path], annotations: list[Path], key: str) -> dict[Path, Path]:
    """Return the annotations elsewhere that have the names of their slides.

    Letter case and Unicode form do not matter.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    for path in annotations:
        found[fold_name(bare_name(path))].append(path)
    candidates = {slide: [path for name in annotation_names(slide) for path in found.get(name, ())] for slide in slides}
    fitting = defaultdict(list)
    for slide, own in candidates.items():
        for annotation in own:
            fitting[annotation].append(slide)
    _check_one_each(fitting, key)
    for slide, own in candidates.items():
        if len(own) > 1:
            raise ConfigError(
                f"{key}: {slide} has {len(own)} {key.split('.')[-1]} by its stem, {own[0]} and {own[1]} among them: "
                "put one at the slide's own relative path"
            )
    return {slide: own[0] for slide, own in candidates.items() if own}


def _check_one_each(fitting: Mapping[Path, list[Path]], key: str) -> None:
    """Reject an annotation that fits several slides; `fitting` has each one's slides."""
    for annotation, slides in fitting.items():
        if len(slides) > 1:
            raise ConfigError(
                f"{key}: {annotation} fits {len(slides)} slides, {slides[0]} and {slides[1]} among them: "
                "put each at its slide's relative path, or list the slides in a sheet"
            )


def _other_than(slides: list[Path], above: Path, annotations: list[Path], *, root: Path, key: str) -> Iterator[Path]:
    """Yield the annotations that are not slides.

    Among slides a TIFF is a slide: only its content could show that it is the label image of another.
    """
    above, root = above.resolve(), root.resolve()
    own = {above / slide for slide in slides} if _are_mixed(above, root) else set()
    named = defaultdict(list)
    for slide in slides if own else ():
        for name in {*annotation_names(slide)}:
            named[name].append(slide)
    for annotation in annotations:
        if root / annotation not in own:
            yield annotation
            continue
        same = [one for one in named[fold_name(bare_name(annotation))] if above / one != root / annotation]
        if same:
            raise ConfigError(
                f"{key}: {annotation} may be a slide, or the label image of {same[0]}: put label images that are "
                "TIFFs into a folder outside that of the slides, save them as PNG, or list the slides in a sheet"
            )


def _find_unread(slides: list[Path], above: Path, root: Path, *, files: Iterable[Path]) -> Iterator[Path]:
    """Yield the files that are not slides.

    In a folder that also holds slides, yield only those named like a slide, as ``a.ndpi.ndpa``.
    """
    if not _are_mixed(above.resolve(), root.resolve()):
        yield from files
        return
    endings = {slide.suffix.lower() for slide in slides}
    names = {name for slide in slides for name in annotation_names(slide)}
    for path in files:
        if path.suffix.lower() not in endings and fold_name(bare_name(path)) in names:
            yield path


def _are_mixed(above: Path, root: Path) -> bool:
    """Return whether the folders of annotations and slides are equal or nested."""
    return above in (root, *root.parents) or root in above.parents


def annotation_names(slide: Path) -> tuple[str, str]:
    """Return the names that an annotation of a slide may have, without its ending."""
    return fold_name(slide.stem), fold_name(slide.name)


def fold_name(stem: str) -> str:
    """Return a stem in the form in which stems are compared.

    It is in NFC (macOS writes NFD), without letter case.
    """
    return unicodedata.normalize("NFC", stem).casefold()
