"""Outcomes: each stage's findings on a slide, as values and small JSON files.

A fault of a slide's content is an outcome, so that other slides go on; outcomes hold what earlier stages found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

from slidemill.core.pyramid import SlideInfo
from slidemill.core.seals import Seal, read_sealed, write_sealed
from slidemill.core.specs import GridSpec
from slidemill.core.stage_facts import (
    FeatureFacts,
    LabelAudit,
    LabelFacts,
    QualitySummary,
    ReaderFacts,
    RegionCounts,
    SampleFacts,
    SlideFacts,
    StoreFacts,
    UnreadablePatch,
)
from slidemill.core.text import name_slide
from slidemill.errors import SlideError, SlidemillError

UNFINISHED = "unfinished"
"""The status of a stage whose job did not end. No job writes it, only the tables of a run that did not finish."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The findings on a slide, of one stage and all stages before it.

    Parameters
    ----------
    slide
        The slide's id.
    stage
        The stage, named as its script, that decided `status`.
    status
        ``"ok"``, ``"empty"`` (no patch is kept), ``"failed"``, or `UNFINISHED`.
    message
        Why it failed, in words for a user.
    path, fingerprint
        The slide's path as `SlideFile` names it, and the fingerprint of its content.
    facts, sample, regions, labels, store, features
        What each stage found; None for stages that did not run or failed.
    slide_notes, warnings
        Notes and warnings of all stages; a warning is listed once.
    tables
        Seals of the slide's tables, by the table's name.
    settings
        Digests of the settings of each stage, as `slidemill.runs.job_settings` makes them.
    """

    slide: str
    stage: str
    status: str = "ok"
    message: str = ""
    path: str = ""
    fingerprint: str = ""
    facts: SlideFacts | None = None
    sample: SampleFacts | None = None
    regions: RegionCounts | None = None
    labels: LabelFacts | None = None
    store: StoreFacts | None = None
    features: FeatureFacts | None = None
    slide_notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Mapping[str, Seal] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the slide has failed, in this stage or before."""
        return self.status == "failed"

    @property
    def name(self) -> str:
        """The slide as messages name it."""
        return name_slide(self.slide, unquote(self.path))

    @property
    def info(self) -> SlideInfo:
        """The facts that OpenSlide reports of the slide; `SlidemillError` if discover_slides has not found them."""
        if self.facts is None:
            raise SlidemillError(f"{self.name}: its outcome of {self.stage} has no info: remove it and run again")
        return self.facts.info

    @property
    def kept(self) -> SampleFacts:
        """The findings of sample_patches; `SlidemillError` if it has not run."""
        if self.sample is None:
            raise SlidemillError(f"{self.name}: its outcome of {self.stage} has no patches: remove it and run again")
        return self.sample

    def to_json(self) -> dict[str, Any]:
        """Return the JSON value of the outcome; ``details`` has the fields of all stages."""
        details: dict[str, Any] = {}
        for name, own in ((one.name, getattr(self, one.name)) for one in fields(self)[4:]):
            if name in _GROUPS and own:
                grid = {"sampling": own.sampling.to_json()} if getattr(own, "sampling", None) else {}
                details |= {key: value for key, value in asdict(own).items() if value is not None} | grid
            elif own or (name == "slide_notes" and self.facts):
                details[name] = {key: asdict(seal) for key, seal in own.items()} if name == "tables" else own
        return {one.name: getattr(self, one.name) for one in fields(self)[:4]} | {"details": details}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """Build an outcome from a value that `to_json` returned.

        Raises
        ------
        ValueError, TypeError
            When it is another value.
        """
        own = {"details": {}, **value}
        if not isinstance(own["details"], dict) or own.get("status", "ok") not in ("ok", "empty", "failed"):
            raise ValueError("its status or its details are of another kind")
        details = dict(own.pop("details"))
        groups: dict[str, Any] = {}
        for name, (kind, key) in _GROUPS.items():
            if key in details:
                groups[name] = _build(kind, {one: details.pop(one) for one in _kinds(kind) if one in details})
                if name == "store" and "grid" in details:
                    # The number of stored patches replaces that of the sample.
                    details["patches"] = groups[name].patches + len(groups[name].unreadable)
        heads = {one.name for one in fields(cls)[:4]}
        if strange := own.keys() - heads | details.keys() & (heads | _GROUPS.keys()):
            raise ValueError(f"unexpected {', '.join(sorted(strange))}")
        outcome: Outcome = _build(cls, own | details, groups)
        return outcome


_GROUPS: dict[str, tuple[type[Any], str]] = {
    "store": (StoreFacts, "backend"),
    "features": (FeatureFacts, "model"),
    "facts": (SlideFacts, "info"),
    "sample": (SampleFacts, "grid"),
    "regions": (RegionCounts, "within"),
    "labels": (LabelFacts, "counts"),
}
"""By field of `Outcome`: the value of a stage, and the key that tells a file which has it."""


def _kinds(kind: type[Any]) -> dict[str, str]:
    """Return the types of a dataclass's fields by name."""
    return {one.name: str(one.type) for one in fields(kind)}


def _build(kind: type[Any], values: Mapping[str, Any], ready: Mapping[str, Any] = MappingProxyType({})) -> Any:
    """Build a dataclass from JSON values, and from `ready` ones.

    Raises
    ------
    ValueError, TypeError
        When a value is missing, unknown or of another kind.
    """
    kinds = _kinds(kind)
    if unknown := sorted(values.keys() - kinds.keys()):
        raise ValueError(f"unexpected {', '.join(unknown)}")
    found = dict(ready)
    for name, value in values.items():
        try:
            optional = kinds[name].endswith(" | None")
            found[name] = None if optional and value is None else _READERS[kinds[name].removesuffix(" | None")](value)
        except (TypeError, ValueError, AttributeError):
            raise ValueError(f"{name} is {value!r:.80}") from None
    return kind(**found)


def _only(*kinds: type[Any]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise TypeError
        return value

    return read


def _sequence(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: tuple(map(read, _only(list)(value)))


def _mapping(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: {key: read(own) for key, own in value.items()}


def _seal(value: object) -> Seal:
    if (seal := Seal.from_json(value)) is None:
        raise ValueError
    return seal


_WHOLE, _NUMBER, _TEXT = _only(int), _only(int, float), _only(str)
_READERS: dict[str, Callable[[Any], Any]] = {
    "int": _WHOLE,
    "float": _NUMBER,
    "str": _TEXT,
    "Sequence[str]": _sequence(_TEXT),
    "Sequence[float]": _sequence(_NUMBER),
    "Sequence[Mapping[str, Any]]": _sequence(_only(dict)),
    "Sequence[UnreadablePatch]": _sequence(lambda value: _build(UnreadablePatch, value)),
    "Mapping[str, int]": _mapping(_WHOLE),
    "Mapping[str, str]": _mapping(_TEXT),
    "Mapping[str, Sequence[int]]": _mapping(_sequence(_WHOLE)),
    "Mapping[str, Seal]": _mapping(_seal),
    "SlideInfo": SlideInfo.from_json,
    "GridSpec": lambda value: GridSpec(**value),
    **{kind.__name__: partial(_build, kind) for kind in (QualitySummary, ReaderFacts, LabelAudit)},
}
"""By annotation of a field, the function that reads its JSON value."""


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Publish `outcome` at `path`."""
    write_sealed(path, outcome.to_json())


def read_outcome(path: Path) -> Outcome:
    """Return the outcome at `path`.

    Raises
    ------
    SlidemillError
        When the file holds none, or its text is not what was sealed.
    """
    value, _ = read_sealed(path)
    try:
        return Outcome.from_json(value)
    except (TypeError, ValueError) as error:
        raise SlidemillError(f"{path}: holds no outcome of a stage ({error}): remove it and run again") from None


def add_seals(outcome: Outcome, **seals: Seal) -> Outcome:
    """Return the outcome with seals of its stage's tables, next to earlier ones."""
    return replace(outcome, tables={**outcome.tables, **seals})


def find_seal(outcomes: Iterable[Outcome], table: str) -> Seal | None:
    """Return the seal of a slide's table from the first outcome that has it.

    None if no outcome has it, as in results of earlier versions.
    """
    return next((outcome.tables[table] for outcome in outcomes if table in outcome.tables), None)


def check_tables(outcomes: Sequence[Outcome], **tables: Path) -> None:
    """Check a slide's tables, by name, against their seals in the outcomes.

    Tables of earlier versions have no seal, and are not checked.
    """
    for name, path in tables.items():
        if seal := find_seal(outcomes, name):
            seal.check(path)


def attempt(
    slide: str,
    stage: str,
    work: Callable[[], Outcome],
    *,
    after: Outcome | None = None,
    unchanged: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run a stage on a slide; return its outcome, failed after a `SlideError`.

    The outcome includes the findings of earlier stages.

    Parameters
    ----------
    slide, stage
        The slide's id, and the stage.
    work
        Returns what this stage found. A `SlideError` fails the slide.
    after
        The outcome of the stages before. If these failed, it is returned and `work` is not called.
    unchanged
        Called before the slide is failed. It raises `SlidemillError` where the file has changed since the run was
        planned: an unmounted disk, or a slide that is being replaced, is not a fault of the slide.
    """
    if after is not None and after.failed:
        return after
    try:
        outcome = work()
    except SlideError as error:
        unchanged()
        outcome = Outcome(slide, stage, "failed", str(error))
    if after is None:
        return outcome
    earlier = {one.name: getattr(outcome, one.name) or getattr(after, one.name) for one in fields(Outcome)[4:]}
    return replace(outcome, **earlier | {"warnings": tuple(dict.fromkeys((*after.warnings, *outcome.warnings)))})
