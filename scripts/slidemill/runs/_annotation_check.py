"""Check before a run that annotations and masks match slides by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from slidemill.config.configuration import Config
from slidemill.core.text import format_count, format_list, format_suggestions, suggest
from slidemill.errors import ConfigError
from slidemill.slides.annotation_matching import ANNOTATIONS, Matches, annotation_names, bare_name, fold_name
from slidemill.slides.discovery import Found, SlideFile, decode_path
from slidemill.slides.file_endings import endings_of

DRAWN = (".xml", ".annotations", ".geojson", ".json")
FILES = (*DRAWN, ".png", ".tif", ".tiff", ".gz", ".zip")
"""Endings, in lower case, of what a sheet's column may name that is not read: annotations and masks."""

MOST_NAMED = 10
"""Files or slides that a message names; all are counted."""


@dataclass(frozen=True, slots=True)
class PlanRemarks:
    """Notes and warnings found while a run is planned.

    Parameters
    ----------
    notes
        For information; shown in the terminal.
    warnings
        What may make labels or patches wrong; shown in the report too.
    """

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_annotations(found: Found, config: Config) -> PlanRemarks:
    """Return notes and warnings about annotations and masks.

    Raises
    ------
    ConfigError
        When no file of a folder fits any slide, or some slides have no annotation and `labels.unannotated` is missing.
    """
    remarks = PlanRemarks()
    for matches, root, key in (
        (found.annotations, config.annotations, "annotations"),
        (found.masks, config.tissue_masks, "tissue.masks"),
    ):
        if matches is not None and root is not None:
            bare = [path for path in (decode_path(one.path) for one in found.slides) if path not in matches.by_slide]
            lines = list(_left_over(matches, bare, key))
            lines.extend(_elsewhere(matches, [decode_path(one.path) for one in found.slides], key))
            if not matches.by_slide:
                raise ConfigError("\n".join([_nothing_fits(matches, root, key), *lines]))
            remarks.warnings.extend(lines)
    _check_unannotated(found, config, remarks)
    _check_unmasked(found.slides, config, remarks)
    remarks.warnings.extend(_misnamed_columns(found.slides))
    remarks.warnings.extend(_shared_files(found.slides))
    return remarks


def _nothing_fits(matches: Matches, root: Path, key: str) -> str:
    """Return an error for a folder in which no file matches a slide."""
    problem = "none of its files fits a slide" if matches.unfit else "it holds no file that is read"
    return (
        f"{key} is {root}: {problem}: name each as its slide's stem or file name and {', '.join(ANNOTATIONS)}, such as "
        "a.xml or a.svs.xml for a.svs, or give null for none"
    )


def _left_over(matches: Matches, bare: Sequence[Path], key: str) -> Iterator[str]:
    """Yield a line for files that match no slide, and one for unknown suffixes.

    Parameters
    ----------
    matches
        Which files fit which slides.
    bare
        The slides without one.
    key
        The configuration's, which names the folder.
    """
    if matches.unfit:
        named = [f"{path}{_meant(path, bare)}" for path in matches.unfit[:MOST_NAMED]]
        count, total = len(matches.unfit), len(matches.unfit) + len(matches.by_slide)
        fit = "fits" if count == 1 else "fit"
        yield f"{key}: {count:,} of {format_count(total, 'file')} {fit} no slide: {_list_names(named, count)}"
    if matches.ignored:
        named = [str(path) for path in matches.ignored[:MOST_NAMED]]
        count = len(matches.ignored)
        yield (
            f"{key}: {format_count(count, 'file')} with {'an unknown ending' if count == 1 else 'unknown endings'} "
            f"{'was' if count == 1 else 'were'} ignored, {endings_of(matches.ignored)}: {_list_names(named, count)}"
        )


def _elsewhere(matches: Matches, slides: Sequence[Path], key: str) -> Iterator[str]:
    """Yield a line for files that match slides by name but may belong to others.

    Such a file is in the folder of other slides, or several slides have its name.
    """
    folders = {above for slide in slides for above in _folders(slide)}
    names = Counter(name for slide in slides for name in set(annotation_names(slide)))
    strays = [
        f"{file} ({slide})"
        for slide, file in matches.by_slide.items()
        if _folders(file) != _folders(slide)
        and ((_folders(file) & folders) - _folders(slide) or names[fold_name(bare_name(file))] > 1)
    ]
    if strays:
        yield (
            f"{key}: {format_count(len(strays), 'file')} matched by name only, from the folder of other slides or with "
            f"a name that several slides have: {_list_names(strays[:MOST_NAMED], len(strays))}"
        )


def _folders(path: Path) -> set[str]:
    """Return the folders above a relative path, normalized for comparison."""
    return {fold_name(str(above)) for above in path.parents if above.name}


def _meant(path: Path, bare: Sequence[Path]) -> str:
    """Return a question that suggests slides without an annotation for a file.

    The file's own name is tried first, then the name of its folder. Empty if no slide is similar.
    """
    names = {slide.stem: slide.name for slide in bare}
    for own in (bare_name(path), path.parent.name):
        near = [own] if own in names else suggest(own, names)
        if near:
            return format_suggestions([names[stem] for stem in near])
    return ""


def _check_unannotated(found: Found, config: Config, remarks: PlanRemarks) -> None:
    """Reject or note slides without an annotation, by `labels.unannotated`.

    Without that key, they are an error where other slides have an annotation.
    """
    bare = [one for one in found.slides if one.annotation is None]
    if not bare:
        return
    if config.unannotated in (None, "outside") and len(bare) == len(found.slides):
        if config.unannotated is None and len(set(config.labels.map.values())) > 1:
            remarks.warnings.append(
                f"labels.map has several labels, and no slide has an annotation, so that all patches are "
                f"{config.labels.outside}: name annotations, or give labels.unannotated: outside"
            )
        return
    count = f"{len(bare)} of {len(found.slides)} slides {_has(len(bare))} no annotation"
    if config.unannotated is not None:
        become = {
            "outside": f"all their patches are {config.labels.outside}",
            "skip": "they are skipped",
            "fail": "they fail",
        }
        remarks.notes.append(
            f"{count}; {become[config.unannotated]} (labels.unannotated: {config.unannotated}): {_name_slides(bare)}"
        )
        return
    raise ConfigError(
        "\n".join(
            [
                f"labels.unannotated is missing: {count}: {_name_slides(bare)}",
                *remarks.warnings,
                "add the missing annotations, or one of these lines to labels:",
                f"  unannotated: outside  # all their patches are {config.labels.outside}",
                "  unannotated: skip     # they are left out, and end as empty (fail: they fail)",
            ]
        )
    )


def _check_unmasked(slides: Sequence[SlideFile], config: Config, remarks: PlanRemarks) -> None:
    """Add a note or warning on slides without a mask where others have one.

    It is a warning where no tissue method is set, since these slides then keep all their patches.
    """
    bare = [one for one in slides if one.tissue_mask is None]
    if bare and len(bare) < len(slides):
        count = f"tissue.masks: {len(bare)} of {len(slides)} slides {_has(len(bare))} no mask of tissue"
        if config.tissue.method == "none":
            remarks.warnings.append(f"{count}, so that all patches are kept: {_name_slides(bare)}")
        else:
            remarks.notes.append(f"{count}, so that tissue.method decides: {_name_slides(bare)}")


def _misnamed_columns(slides: Sequence[SlideFile]) -> Iterator[str]:
    """Yield a line per unread sheet column that looks like a misnamed one.

    The columns are those of annotations, masks and µm per pixel, where no slide has a value for them.
    """
    for column in slides[0].columns:
        values = [value for one in slides if (value := one.columns[column])]
        unread = f"slides: the column {column!r} of the sheet is not read, and names files such as"
        files = [value for value in values if value.lower().endswith(FILES)]
        drawn = [value for value in files if value.lower().endswith(DRAWN) or "annot" in column.casefold()]
        masks = [value for value in files if any(word in column.casefold() for word in ("mask", "tissue"))]
        if masks and not any(one.tissue_mask for one in slides):
            yield f"{unread} {_list_names(masks[:1], 1)}: call it tissue_mask if they are masks of tissue"
        elif drawn and not any(one.annotation for one in slides):
            yield f"{unread} {_list_names(drawn[:1], 1)}: call it annotation if they are annotations"
        if values and "mpp" in column.casefold() and not any(one.mpp for one in slides):
            yield f"slides: the column {column!r} of the sheet is not read: call it mpp if it is the slides' resolution"


def _shared_files(slides: Sequence[SlideFile]) -> Iterator[str]:
    """Yield a line for files that a sheet gives to several slides.

    Annotations and masks have a line each.
    """
    for column in ("annotation", "tissue_mask"):
        owners: dict[str, list[str]] = {}
        for one in slides:
            if file := getattr(one, column):
                owners.setdefault(file, []).append(one.slide)
        shared = [f"{decode_path(file)} ({', '.join(own[:3])})" for file, own in owners.items() if len(own) > 1]
        if shared:
            yield (
                f"slides: {format_count(len(shared), 'file')} of the column {column} "
                f"{'is' if len(shared) == 1 else 'are'} given to several slides: "
                f"{_list_names(shared[:MOST_NAMED], len(shared))}"
            )


def _name_slides(slides: Sequence[SlideFile]) -> str:
    return _list_names([str(decode_path(one.path)) for one in slides[:MOST_NAMED]], len(slides))


def _list_names(named: Sequence[str], count: int) -> str:
    """Return the first of `count` names, with unprintable characters escaped."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in format_list(named, count))


def _has(count: int) -> str:
    return "has" if count == 1 else "have"
