"""What became of a slide in a stage: a small JSON file beside each stage's product.

A fault of a slide's content ends as such a file, not as a failed job, so that the other slides go on; the
stages after it carry it along, and the table of slides shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from slidemill.core.seals import Seal, read_sealed, write_sealed
from slidemill.errors import SlideError, SlidemillError

UNFINISHED = "unfinished"
"""The status of a stage whose job did not end; no job writes it, only the tables of a run that did not finish."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a slide in a stage.

    Parameters
    ----------
    slide
        The slide's id.
    stage
        The stage, named as its script, that decided `status`.
    status
        ``"ok"``, ``"empty"`` (no patch wanted), ``"failed"``, or `UNFINISHED`.
    message
        Why it failed, in words for a user.
    details
        What the stage has to tell beside its product; JSON values. ``warnings``, a list of texts, is added up over
        the stages.
    """

    slide: str
    stage: str
    status: str = "ok"
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the slide has failed, in this stage or before."""
        return self.status == "failed"


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Publish `outcome` at `path`."""
    write_sealed(path, asdict(outcome))


def read_outcome(path: Path) -> Outcome:
    """Return the outcome at `path`.

    Raises
    ------
    SlidemillError
        When the file holds none, or its text is not what was sealed.
    """
    value, _ = read_sealed(path)
    try:
        outcome = Outcome(**value)
    except TypeError:
        outcome = None
    if (
        outcome is None
        or not all(isinstance(text, str) for text in (outcome.slide, outcome.stage, outcome.message))
        or outcome.status not in ("ok", "empty", "failed")
        or not isinstance(outcome.details, dict)
    ):
        raise SlidemillError(f"{path}: holds no outcome of a stage: remove it and run again")
    return outcome


def add_seals(outcome: Outcome, **seals: Seal) -> Outcome:
    """Return the outcome with the seals of the tables that its stage has written, beside those of earlier stages."""
    tables = {**outcome.details.get("tables", {}), **{name: asdict(seal) for name, seal in seals.items()}}
    return replace(outcome, details={**outcome.details, "tables": tables})


def find_seal(outcomes: Iterable[Outcome], table: str) -> Seal | None:
    """Return the seal of a slide's table, from the first outcome that has it; None where an earlier version made it."""
    known = (outcome.details.get("tables") for outcome in outcomes)
    return next((Seal.from_json(own[table]) for own in known if isinstance(own, dict) and table in own), None)


def check_tables(outcomes: Sequence[Outcome], **tables: Path) -> None:
    """Check a slide's tables, by name, against their seals in the outcomes; one of an earlier version has none."""
    for name, path in tables.items():
        if seal := find_seal(outcomes, name):
            seal.check(path)


def attempt(
    slide: str,
    stage: str,
    work: Callable[[], Outcome],
    after: Outcome | None = None,
    unchanged: Callable[[], None] = lambda: None,
) -> Outcome:
    """Return what `work` returns, or a failed outcome where a `SlideError` says that the slide is at fault.

    What the stages before have told (`after`) stays told: its details stand beside those of this one, so that the
    next stage needs this outcome alone. Where the slide had failed already, nothing is done and that outcome is carried
    along. `unchanged` is called before the slide is blamed, and raises `SlidemillError` where the file is not what it
    was when the run was planned: a mount that went away, or a slide that is being replaced, is no fault of its content.
    """
    if after is not None and after.failed:
        return after
    try:
        outcome = work()
    except SlideError as error:
        unchanged()
        outcome = Outcome(slide, stage, "failed", str(error))
    before = after.details if after else {}
    warnings = [*before.get("warnings", ()), *outcome.details.get("warnings", ())]
    told = {"warnings": list(dict.fromkeys(warnings))} if warnings else {}
    return replace(outcome, details={**before, **outcome.details, **told})
