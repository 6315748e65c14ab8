"""Which annotation belongs to which slide, by their names alone."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from slidemill.errors import ConfigError
from slidemill.folders import is_folder, walked

ANNOTATIONS = (".annotations", ".geojson", ".json", ".png", ".tif", ".tiff", ".xml")
"""What the names of annotations end in."""

COMPRESSED = (".gz", ".zip")
"""What the names of compressed annotations end in besides; they are found to be refused by name."""


def match_annotations(
    above: Path, slides: list[Path], root: Path, skip: Path | None, key: str = "annotations"
) -> dict[Path, Path]:
    """Return each slide's annotation, or its mask of tissue, both relative to their folders.

    Parameters
    ----------
    above, slides
        The folder of slides, and their paths in it.
    root
        The folder of annotations.
    skip
        A folder that is not searched.
    key
        The configuration's, which names the folder.

    Raises
    ------
    ConfigError
        When the folder is missing, an annotation fits two slides, two fit one, or a file may be both.
    """
    if not is_folder(root):
        raise ConfigError(f"{key}: {root} is no folder: name the folder of the {key.split('.')[-1]}, or null for none")
    found: dict[Path, list[Path]] = {}
    for path in _other_than(slides, above, sorted(_annotation_paths(root, skip, key)), root, key):
        found.setdefault(_unpacked(path).with_suffix(""), []).append(path)
    matched = {}
    for slide in slides:
        for annotation, *others in [found[place]] if (place := slide.with_suffix("")) in found else []:
            if others:
                raise ConfigError(f"{key}: {slide} has two, {annotation} and {others[0]}: take one of them away")
            matched[slide] = annotation
    taken = Counter(matched.values())
    for annotation, count in taken.items():
        if count > 1:
            raise _ambiguous(key, annotation, [slide for slide in slides if matched.get(slide) == annotation])
    by_stem: dict[str, list[Path]] = {}
    for annotation in sorted({path for paths in found.values() for path in paths} - set(taken)):
        by_stem.setdefault(_plain(_unpacked(annotation).stem), []).append(annotation)
    for stem, candidates in by_stem.items():
        wanting = [slide for slide in slides if _plain(slide.stem) == stem and slide not in matched]
        if len(wanting) > 1:
            raise _ambiguous(key, candidates[0], wanting)
        if wanting and len(candidates) > 1:
            raise ConfigError(
                f"{key}: {wanting[0]} has {len(candidates)} {key.split('.')[-1]} by its stem, {candidates[0]} and "
                f"{candidates[1]} among them: put one at the slide's own relative path"
            )
        if wanting:
            matched[wanting[0]] = candidates[0]
    return matched


def _annotation_paths(root: Path, skip: Path | None, key: str) -> Iterator[Path]:
    """Yield the annotations' files below `root`, relative to it; hidden ones are passed over."""
    skipped = skip.resolve() if skip else None
    for folder, subfolders, names in walked(root, key):
        here = Path(folder)
        subfolders[:] = [name for name in subfolders if name[0] != "." and (here / name).resolve() != skipped]
        for name in names:
            unpacked = _unpacked(Path(name)).name
            # Who has unpacked a file may keep the packed one.
            is_spare = unpacked != name and unpacked in names
            if unpacked.lower().endswith(ANNOTATIONS) and not name.startswith(".") and not is_spare:
                yield (here / name).relative_to(root)


def _unpacked(path: Path) -> Path:
    """Return a path without the ending of a compressed file."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def _other_than(slides: list[Path], above: Path, annotations: list[Path], root: Path, key: str) -> Iterator[Path]:
    """Yield the annotations that are no slides themselves.

    Among slides a TIFF is a slide, and nothing but its content could say that it is the label image of another.
    """
    above, root = above.resolve(), root.resolve()
    own = {above / slide for slide in slides} if above in (root, *root.parents) or root in above.parents else set()
    for annotation in annotations:
        if root / annotation not in own:
            yield annotation
            continue
        same = [
            one for one in slides if _plain(one.stem) == _plain(annotation.stem) and above / one != root / annotation
        ]
        if same:
            raise ConfigError(
                f"{key}: {annotation} may be a slide, or the label image of {same[0]}: put label images that are "
                "TIFFs into a folder outside that of the slides, save them as PNG, or list the slides in a sheet"
            )


def _plain(stem: str) -> str:
    """Return a stem in the form in which stems are compared: any letter case, composed or not (macOS does not)."""
    return unicodedata.normalize("NFC", stem).casefold()


def _ambiguous(key: str, annotation: Path, slides: list[Path]) -> ConfigError:
    return ConfigError(
        f"{key}: {annotation} fits {len(slides)} slides, {slides[0]} and {slides[1]} among them: "
        "put each at its slide's relative path, or list the slides in a sheet"
    )
