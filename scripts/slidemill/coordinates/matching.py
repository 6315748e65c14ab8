"""Match files of coordinates to slides by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from slidemill.core.files import is_folder, walk_folder
from slidemill.core.text import format_count, format_list
from slidemill.errors import ConfigError
from slidemill.slides.annotation_matching import annotation_names, fold_name
from slidemill.slides.discovery import SlideFile, decode_path, encode_path

KEY = "sampling.coordinates"

ENDINGS = ("_patches.h5", ".h5", ".csv")
"""Endings of the files in lower case; TRIDENT's is the first."""


@dataclass(frozen=True, slots=True)
class GivenSlides:
    """Slides with their files of coordinates, and warnings about files and slides that match none."""

    slides: list[SlideFile]
    warnings: list[str]


class Names(NamedTuple):
    """The slides by the names that their files of coordinates may have."""

    by_id: dict[str, list[SlideFile]]
    in_place: dict[Path, list[SlideFile]]
    by_name: dict[str, list[SlideFile]]


def match_coordinates(root: Path, slides: Sequence[SlideFile]) -> GivenSlides:
    """Return slides with their files in a folder of coordinates.

    A file fits a slide by the slide's id, its stem or its file name: ``a_patches.h5``, ``a.h5``, ``a.csv`` and
    ``a.svs.csv`` fit ``a.svs``. Where several slides have a stem, the id or the relative path decides.

    Raises
    ------
    ConfigError
        When the folder is missing, no file fits, one fits several slides, or two fit one.
    """
    if not is_folder(root):
        raise ConfigError(f"{KEY}: {root} is not a folder: name the folder of the files of coordinates, or null")
    files = sorted(_files(root))
    found: dict[str, list[Path]] = defaultdict(list)
    unfit, names = [], _names(slides)
    for file, fitting in ((file, _find_slides(file, names)) for file in files):
        if len(fitting) > 1:
            raise ConfigError(
                f"{KEY}: {file} fits {len(fitting)} slides, {fitting[0].slide} and {fitting[1].slide} among them: name "
                "each file by its slide's id, such as "
                f"{fitting[0].slide}.h5"
            )
        if fitting:
            found[fitting[0].slide].append(file)
        else:
            unfit.append(file)
    for slide, own in found.items():
        if len(own) > 1:
            raise ConfigError(
                f"{KEY}: {slide} has {len(own)} files, {own[0]} and {own[1]} among them: name the folder that holds "
                "only the files of coordinates, and keep one per slide"
            )
    if not found:
        there = f"none of its {format_count(len(files), 'file')} fits a slide" if files else "it holds no such file"
        raise ConfigError(
            f"{KEY} is {root}: {there}: name each as its slide's stem and {', '.join(ENDINGS)}, such as a_patches.h5 "
            "or a.csv for a.svs"
        )
    matched = [
        replace(one, coordinates=encode_path(found[one.slide][0]) if one.slide in found else None) for one in slides
    ]
    return GivenSlides(matched, list(_warnings(unfit, len(files), matched)))


def _warnings(unfit: Sequence[Path], count: int, slides: Sequence[SlideFile]) -> Iterator[str]:
    if unfit:
        fit = "fits" if len(unfit) == 1 else "fit"
        yield f"{KEY}: {len(unfit)} of {format_count(count, 'file')} {fit} no slide: {format_list(map(str, unfit))}"
    if bare := [one.slide for one in slides if one.coordinates is None]:
        have = "has no file, and fails" if len(bare) == 1 else "have no file, and fail"
        yield f"{KEY}: {len(bare)} of {format_count(len(slides), 'slide')} {have}: {format_list(bare)}"


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in walk_folder(root, KEY):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(ENDINGS) and not name.startswith(".") and name.lower() not in ENDINGS:
                yield (Path(folder) / name).relative_to(root)


def _names(slides: Sequence[SlideFile]) -> Names:
    """Return the slides by id, by relative path with and without its ending, and by name."""
    names = Names(defaultdict(list), defaultdict(list), defaultdict(list))
    for one in slides:
        path = decode_path(one.path)
        names.by_id[fold_name(one.slide)].append(one)
        for place in {path, path.with_suffix("")}:
            names.in_place[place].append(one)
        for name in {*annotation_names(path)}:
            names.by_name[name].append(one)
    return names


def _find_slides(file: Path, names: Names) -> Sequence[SlideFile]:
    """Return the slides that a file fits best: by id, else by relative path, else by name."""
    end = next(end for end in ENDINGS if file.name.lower().endswith(end))
    bare = file.with_name(file.name[: -len(end)])
    name = fold_name(bare.name)
    return names.by_id.get(name) or names.in_place.get(bare) or names.by_name.get(name) or ()
