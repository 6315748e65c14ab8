"""The plan of a run: its slides and their fingerprints, shared by all jobs.

A cluster's jobs read the Snakefile again, when slides may have been added or a disk may be missing. They use the plan
that their run has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from slidemill.core.files import read_json, write_json
from slidemill.core.results_layout import PLAN
from slidemill.errors import SlidemillError
from slidemill.slides.discovery import SlideFile, decode_path
from slidemill.slides.fingerprint import UNREADABLE, fingerprint

Prints = tuple[str | None, ...]
"""The fingerprints of a slide's file, annotation, mask and coordinates; None for a file that it does not have."""


def planned_print(root: Path, path: str | None, outcome: str, *, key: str) -> str | None:
    """Return the fingerprint of a slide's file, or of one of its other files, for this run.

    A file that cannot be read now, but could be in the last run, keeps that run's fingerprint, so that its results are
    not discarded for a disk that is missing. A warning in slidemill's log says so. Jobs that need the file fail.

    Parameters
    ----------
    root, path
        The file, as `SlideFile` names it, or None.
    outcome
        The outcome of the stage that last read it, in the working directory; its field `key` has the fingerprint.
    """
    if path is None:
        return None
    seen = fingerprint(root / decode_path(path))
    if not seen.startswith(UNREADABLE) or not Path(outcome).is_file():
        return seen
    from slidemill.core.job_log import LOG  # most jobs need neither
    from slidemill.core.outcomes import read_outcome

    last = read_outcome(Path(outcome))
    parts = {"fingerprint": last, "annotation_fingerprint": last.labels}
    known = None if last.failed else getattr(parts.get(key, last.sample), key, None)
    if known:
        LOG.warning(
            "slidemill: %s: could be read in the last run, and cannot be now (%s); what was made of it is kept: check "
            "that its disk is there, restore it, or take it out of the folder or the sheet",
            subject := str(decode_path(path)),
            seen,
            extra={"subject": subject},
        )
    return known or seen


@dataclass(frozen=True, slots=True)
class Plan:
    """The slides, stores and settings of a run.

    Parameters
    ----------
    slides, prints
        By id: the slides, and the fingerprints of each.
    backends
        The backends of its stores.
    warnings
        Warnings about the whole run, found while it was planned.
    settings
        By slide, the digests of `slidemill.runs.job_settings`.
    features
        The names of the models that embed patches.
    """

    slides: Mapping[str, SlideFile]
    prints: Mapping[str, Prints]
    backends: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    features: tuple[str, ...] = ()


def write_plan(plan: Plan, results: Path = Path()) -> None:
    """Publish the plan in the results folder, the working directory by default."""
    rows = [{**asdict(slide), "prints": plan.prints[name]} for name, slide in plan.slides.items()]
    about = {"backends": plan.backends, "warnings": plan.warnings, "settings": plan.settings, "features": plan.features}
    write_json(results / PLAN, {**about, "slides": rows})


def read_plan(path: Path) -> Plan:
    """Return the plan that `write_plan` published at `path`.

    Raises
    ------
    SlidemillError
        When the file does not hold a plan.
    """
    found, slides, prints = read_json(path), {}, {}
    try:
        for row in found["slides"]:
            prints[row["slide"]] = tuple(row.pop("prints"))
            slides[row["slide"]] = SlideFile(**row)
        warnings, settings = tuple(found.get("warnings", ())), found.get("settings", {})
        return Plan(slides, prints, tuple(found["backends"]), warnings, settings, tuple(found.get("features", ())))
    except (AttributeError, KeyError, TypeError):
        raise SlidemillError(
            f"{path}: is of another version of slidemill: make the tables again by a run with --forcerun gather_results"
        ) from None
