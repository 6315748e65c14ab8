"""Failures and warnings of slides, read from what finished jobs wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import Outcome, read_outcome
from slidemill.core.results_layout import SLIDES_TABLE, STORE_STAGES, VALIDATION, outcome_file
from slidemill.core.run_warnings import SEPARATOR, split_count
from slidemill.core.stage_facts import describe_unreadable
from slidemill.core.text import format_count, format_list, name_slide
from slidemill.errors import SlidemillError
from slidemill.slides.discovery import decode_path
from slidemill.terminal._progress import Job

FAILED, WARNING, JOB = "failed", "warning", "job"
SHARED = {
    FAILED: ("more slide", "failed with the same reason"),
    WARNING: ("more slide", "with the same warning"),
    JOB: ("more job", "failed with the same reason"),
}
"""By kind of a message, what is said of those that share it."""

STORING = "store_patches_"
STAGES = ("discover_slides", "sample_patches", "write_metadata", "validate_stores", *STORE_STAGES.values())
"""The stages that write an outcome."""

LONGEST_REASON = 70


@dataclass(frozen=True, slots=True)
class Finding:
    """A failure or a warning of a slide.

    Parameters
    ----------
    kind
        `FAILED` or `WARNING`.
    slide, path
        The slide's id and path.
    text
        The message; that of a failure begins with the stage.
    """

    kind: str
    slide: str
    path: str
    text: str

    @property
    def reason(self) -> str:
        """The message without count and names, equal for slides with the same trouble."""
        return without_names(split_count(self.text)[0], names_of(self.slide, self.path))

    @property
    def line(self) -> str:
        """The message for the terminal."""
        text, count = split_count(self.text)
        return f"{self.kind}: {name_slide(self.slide, self.path)}: {f'{text}: {count}' if count else text}"


@dataclass(frozen=True, slots=True)
class Found:
    """The findings of a finished job, and the patches and bytes that it stored."""

    findings: tuple[Finding, ...] = ()
    patches: int = 0
    bytes: int = 0


def read_findings(results: Path, job: Job, *, skip_unreadable: bool) -> Found:
    """Return the findings of a finished job on its slide.

    Jobs without an outcome have none. Outcomes that cannot be read have none either; later jobs reject them.
    """
    backend = job.rule.removeprefix(STORING)
    stage = STORE_STAGES.get(backend, "") if job.rule.startswith(STORING) else job.rule
    if not job.slide or stage not in STAGES:
        return Found()
    try:
        outcome = read_outcome(results / outcome_file(stage, job.slide))
        path = str(decode_path(outcome.path)) if outcome.path else ""
        failure = _failure(outcome, skip_unreadable)
        if not failure and stage == "validate_stores":
            failure = _failed_check(results / VALIDATION.format(slide=job.slide))
    except (SlidemillError, OSError):
        return Found()
    findings = [Finding(FAILED, job.slide, path, failure)] if failure else []
    findings += [Finding(WARNING, job.slide, path, warning) for warning in outcome.warnings]
    store = outcome.store
    if store is None or stage not in STORE_STAGES.values():
        return Found(tuple(findings))
    return Found(tuple(findings), store.patches, store.bytes or 0)


def read_cohort_findings(results: Path) -> Iterator[Finding]:
    """Yield the failures and warnings in the table of slides, if there is one."""
    table = results / SLIDES_TABLE
    if not table.exists():
        return
    for row in read_table(table):
        if row["status"] == "failed":
            yield Finding(FAILED, row["slide"], row["path"], f"{row['stage']}: {row['message']}")
        for warning in filter(None, (row.get("warnings") or "").split(SEPARATOR)):
            yield Finding(WARNING, row["slide"], row["path"], warning)


def _failure(outcome: Outcome, skip_unreadable: bool) -> str:
    if outcome.failed:
        return f"{outcome.stage}: {outcome.message}"
    store = outcome.store
    if store and store.unreadable and not (skip_unreadable and store.patches):
        return f"store_patches: {describe_unreadable(store.unreadable, store.patches)}"
    return ""


def _failed_check(table: Path) -> str:
    for row in read_table(table):
        if row["status"] == "failed":
            return f"validate_stores: {row['backend']}, {row['check']}: {row['message']}"
    return ""


def names_of(slide: str, path: str) -> tuple[str, ...]:
    """Return the names by which a message may call a slide, the longest first."""
    name = Path(path).name
    return name_slide(slide, path), path, name, slide, Path(name).stem


def without_names(text: str, names: Iterable[str]) -> str:
    """Return a message with ``*`` in place of these names."""
    for name in filter(None, names):
        text = text.replace(name, "*")
    return text


class Repeats:
    """Messages that are shown once, with the names of all that share them."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], dict[str, str]] = {}

    def is_new(self, kind: str, reason: str, own: str, name: str = "") -> bool:
        """Add a job, a file or a slide to a message, with the name that is shown; return whether the message is new."""
        key = kind, reason
        is_new = key not in self._names
        self._names.setdefault(key, {}).setdefault(own, name or own)
        return is_new

    def count(self, kind: str) -> int:
        """Return the number of different messages of a kind."""
        return sum(own == kind for own, _ in self._names)

    def describe(self) -> list[str]:
        """Return a line for each message that several names share."""
        lines = []
        for (kind, reason), names in self._names.items():
            _, *others = names.values()
            if others:
                what, said = SHARED[kind]
                short = reason if len(reason) <= LONGEST_REASON else f"{reason[: LONGEST_REASON - 3]}..."
                lines.append(f"{format_count(len(others), what)} {said} ({short}): {format_list(others)}")
        return lines
