"""What a run is planned for: its slides, each with the fingerprint of its content, the same for all of its jobs.

A cluster's jobs read the Snakefile anew, where slides may have come meanwhile, or a disk may be away: they go by the
list that the run which sent them has written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from slidemill.discovery import SlideFile, decoded
from slidemill.errors import SlidemillError
from slidemill.files import read_json, write_json
from slidemill.fingerprints import UNREADABLE, fingerprint
from slidemill.outcomes import read_outcome

PLAN = Path(".snakemake/slidemill.plan.json")
"""The list, in the results."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a plan saw of a slide's file, or of its annotation.

    Parameters
    ----------
    fingerprint
        Of its content; None where there is no annotation.
    lost
        Whether it cannot be read, and could be in the last run: its disk is away, or somebody has removed it. What
        was made of it is not given up for that.
    """

    fingerprint: str | None
    lost: bool = False


def look(root: Path, path: str | None, outcome: Path) -> Seen:
    """Return what is seen of a file; `outcome` is the stage's that last read it."""
    if path is None:
        return Seen(None)
    seen = fingerprint(root / decoded(path))
    return Seen(seen, seen.startswith(UNREADABLE) and outcome.is_file() and not read_outcome(outcome).failed)


def check_not_lost(name: str, lost: bool) -> None:
    """See that a file is not lost.

    Raises
    ------
    SlidemillError
        When it is.
    """
    if lost:
        raise SlidemillError(
            f"{name}: could be read in the last run, and cannot be now: see that its disk is there, restore it, "
            "or take it out of the folder or the sheet; what was made of it is kept"
        )


def write_plan(slides: Mapping[str, SlideFile], seen: Mapping[str, tuple[Seen, Seen]]) -> None:
    """Publish the plan in the working directory; `seen` has of each slide its file and its annotation."""
    write_json(PLAN, [{**asdict(slide), "seen": [asdict(one) for one in seen[name]]} for name, slide in slides.items()])


def read_plan(path: Path) -> tuple[dict[str, SlideFile], dict[str, tuple[Seen, Seen]]]:
    """Return what `write_plan` published at `path`: the slides by id, and what was seen of each."""
    slides, seen = {}, {}
    for row in read_json(path):
        file, annotation = row.pop("seen")
        slides[row["slide"]] = SlideFile(**row)
        seen[row["slide"]] = (Seen(**file), Seen(**annotation))
    return slides, seen
