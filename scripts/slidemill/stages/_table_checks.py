"""Check finished tables and outcomes against seals, each other and the grid."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

from slidemill.core import results_layout as layout
from slidemill.core.columns import NEEDED_COLUMNS, PLACE_COLUMNS
from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import Outcome, find_seal, read_outcome
from slidemill.core.seals import SEALED_BY, Seal, read_sealed, read_seals
from slidemill.core.text import AGAIN
from slidemill.errors import SlidemillError, machine_error
from slidemill.runs.job_settings import FOREIGN, Settings, foreign_stage
from slidemill.slides.grid import Grid
from slidemill.stages.gather import unreadable_patches

PLACE = ("patch_id", "column", "row", "x0", "y0", "width0", "height0", "level")
PATCHES, DROPPED, LABELLED, FOUND = "patches", "dropped", "metadata", "validation"
NEEDED = {
    layout.SLIDES_TABLE: ("slide", "status", "patches", "fingerprint"),
    layout.VALIDATION_TABLE: ("slide", "backend"),
    layout.STORES_TABLE: ("slide", "backend", "content"),
}
"""The columns that the checks read of tables that list slides and stores."""
STAGES = ("sample_patches", "write_metadata", "validate_stores")


@dataclass(frozen=True, slots=True)
class FileFault:
    """A fault of a table or an outcome, with its path in the results."""

    path: Path
    message: str


@dataclass(slots=True)
class TableCheck:
    """The results of checking tables and outcomes.

    Parameters
    ----------
    faults
        Faults of files.
    unsealed
        Files of earlier versions, which have no digest.
    ids
        The patches of each store of the slide; None if they are not known for certain.
    sampling
        The slide's grid as a store's manifest has it; None if it is not known.
    contents
        By backend, the `Manifest.content` in the outcome of the slide's store.
    sealing
        Whether the slide's jobs wrote digests; earlier versions did not.
    """

    faults: list[FileFault] = field(default_factory=list)
    unsealed: list[Path] = field(default_factory=list)
    ids: tuple[str, ...] | None = None
    sampling: Mapping[str, Any] | None = None
    contents: dict[str, str] = field(default_factory=dict)
    sealing: bool = False

    @property
    def bad(self) -> set[str]:
        """The names of the files with faults."""
        return {str(fault.path) for fault in self.faults}

    def attempt(self, results: Path, name: str | Path, look: Callable[[Path], str | None]) -> bool:
        """Check a file and record its fault; return whether it has none.

        Parameters
        ----------
        results, name
            The folder of results, and the file in it.
        look
            Returns the fault of the file at a path, or raises it.

        Raises
        ------
        MachineError
            When the machine is at fault.
        """
        path = results / name
        try:
            message = look(path) if path.exists() else "is missing; run again"
        except (SlidemillError, ValueError, KeyError, TypeError, OSError) as error:
            if fault := machine_error(error, path):
                raise fault from None
            message = str(error).removeprefix(f"{path}: ")
            message += "" if "run again" in message else f": {AGAIN}"
        if message:
            self.faults.append(FileFault(Path(name), message))
        return not message

    def check_seal(self, results: Path, name: str | Path, seal: Seal | None) -> bool:
        """Check a table by its seal; return whether it has a seal and no fault.

        Parameters
        ----------
        results, name
            The folder of results, and the table in it.
        seal
            Its seal, if there is one.
        """
        if seal is None:
            self.unsealed += [Path(name)] if (results / name).exists() else []
            return False
        return self.attempt(results, name, seal.check)


def check_cohort(results: Path) -> TableCheck:
    """Check a cohort's tables by their seals, and that they can be read."""
    check = TableCheck()
    seals: dict[str, Seal] = {}
    for own in dict.fromkeys(SEALED_BY.values()):
        known = not (results / own).exists() or check.attempt(results, own, lambda path: seals.update(read_seals(path)))
        for name in (name for name, sealing in SEALED_BY.items() if sealing == own):
            # A table of features without seal is of an earlier run that had models.
            if known and (name in seals or name != layout.FEATURES_TABLE):
                check.check_seal(results, name, seals.get(name))
            # Tables without seal must be readable too.
            if name in NEEDED and name not in check.bad and (results / name).exists():
                check.attempt(results, name, partial(_count_rows, columns=NEEDED[name]))
    return check


def miss_seals(cohort: TableCheck, slides: Iterable[TableCheck]) -> None:
    """Report missing seals of a cohort's tables, if the slides' jobs wrote digests."""
    lost = [path for path in cohort.unsealed if SEALED_BY.get(path.name) == layout.COHORT_SEALS]
    if lost and any(one.sealing for one in slides):
        cohort.unsealed = [path for path in cohort.unsealed if path not in lost]
        cohort.faults.append(
            FileFault(Path(layout.COHORT_SEALS), "is missing, and the cohort's tables with it unchecked; run again")
        )


def _count_rows(path: Path, columns: Sequence[str], wanted: int | None = None) -> str | None:
    """Read a table, and return a fault if its number of rows is wrong."""
    return _count_fault(sum(1 for _ in read_table(path, columns)), wanted)


def _count_fault(count: int, wanted: int | None) -> str | None:
    return None if wanted in (None, count) else f"has {count} rows, and its outcome says {wanted}: {AGAIN}"


def check_slide(results: Path, slide: str, backends: Sequence[str], *, expected: Settings) -> TableCheck:
    """Check the tables and outcomes of a slide.

    Imported databases of py-wsi and copies for training have no outcomes, and are not checked.

    Parameters
    ----------
    results, slide
        The folder of results, and the slide's id.
    backends
        The backends of its stores.
    expected
        Settings of the run that gathered the tables, if they are known.

    Raises
    ------
    MachineError
        When the machine is at fault.
    """
    check = TableCheck()
    if not (results / "outcomes").is_dir():
        return check
    stages = (*STAGES, *(layout.STORE_STAGES[backend] for backend in backends))
    # Earlier versions wrote no outcome of the validation, and without stores there is none.
    if not backends or not (results / "outcomes" / STAGES[-1]).is_dir():
        stages = tuple(name for name in stages if name != STAGES[-1])
    outcomes = {name: _outcome(check, results, layout.outcome_file(name, slide), slide=slide) for name in stages}
    facts = _outcome(check, results, layout.outcome_file("discover_slides", slide), slide=slide)
    known = [outcome for outcome in outcomes.values() if outcome]
    stored = {backend: outcomes[layout.STORE_STAGES[backend]] for backend in backends}
    check.contents = {backend: own.store.content for backend, own in stored.items() if own and own.store}
    check.sealing = find_seal(known, PATCHES) is not None
    names = (PATCHES, DROPPED, LABELLED, *([FOUND] if backends else []))
    tables = {name: Path(name, f"{slide}.csv") for name in names}
    whole = {}
    for name, path in tables.items():
        seal = find_seal(known, name)
        # A damaged outcome may have had the seal.
        if seal or len(known) == len(outcomes):
            whole[name] = check.check_seal(results, path, seal)
    for name, own in outcomes.items():
        if own and name != STAGES[-1] and find_seal([own], PATCHES) != find_seal(known, PATCHES):
            message = f"was made of other patches than {tables[PATCHES]} has: {AGAIN}"
            check.faults.append(FileFault(Path(layout.outcome_file(name, slide)), message))
    looked_at = {"discover_slides": facts, **outcomes}
    made = {name: own for name, own in looked_at.items() if own and name != STAGES[-1]}
    if stage := foreign_stage(made, expected):
        check.faults.append(FileFault(Path(layout.outcome_file(stage, slide)), FOREIGN))
    sampled, labelled = outcomes["sample_patches"], outcomes["write_metadata"]
    if check.faults or sampled is None or labelled is None or sampled.failed:
        return check
    check.attempt(results, tables[PATCHES], lambda path: _place_fault(path, sampled))
    dropped = sampled.kept.grid - sampled.kept.patches
    check.attempt(results, tables[DROPPED], partial(_count_rows, columns=PLACE_COLUMNS, wanted=dropped))
    if not labelled.failed:
        check.attempt(results, tables[LABELLED], lambda path: _label_fault(path, results / tables[PATCHES]))
    if whole[PATCHES] and not check.faults:
        left_out = {patch.patch_id for patch in unreadable_patches(known)}
        rows = read_table(results / tables[PATCHES], ("patch_id",))
        check.ids = tuple(row["patch_id"] for row in rows if row["patch_id"] not in left_out)
        check.sampling = spec.to_json() if (spec := sampled.kept.sampling) else None
    return check


def _outcome(check: TableCheck, results: Path, name: str, *, slide: str) -> Outcome | None:
    """Read a slide's outcome of a stage; on a fault, record it and return None."""
    found: list[Outcome] = []

    def look(path: Path) -> str | None:
        found.append(read_outcome(path))
        if not read_sealed(path)[1]:
            if found[0].tables or found[0].settings:
                return f"has lost its digest: {AGAIN}"
            check.unsealed.append(Path(name))
        return None if found[0].slide == slide else f"is of the slide {found[0].slide}: {AGAIN}"

    return found[0] if check.attempt(results, name, look) else None


def _place_fault(path: Path, sampled: Outcome) -> str | None:
    """Return a fault if a slide's patches differ from the grid or in number."""
    spec = sampled.kept.sampling
    grid = Grid(sampled.info.pyramid, spec) if spec else None
    count = 0
    for count, row in enumerate(read_table(path, PLACE_COLUMNS), start=1):  # noqa: B007
        patch = grid.patch(int(row["column"]), int(row["row"])) if grid else None
        if patch and [str(getattr(patch, name)) for name in PLACE] != [row[name] for name in PLACE]:
            return f"{row['patch_id']} is not where the grid has it: {AGAIN}"
    return _count_fault(count, sampled.kept.patches)


def _label_fault(path: Path, patches: Path) -> str | None:
    """Return the first difference between a slide's metadata and its patch table."""
    for own, other in zip_longest(read_table(path, NEEDED_COLUMNS), read_table(patches, PLACE_COLUMNS)):
        if own is None or other is None:
            return f"has not the rows of {patches.parent.name}/{patches.name}: {AGAIN}"
        if any(own.get(name) != value for name, value in other.items()):
            return f"{own['patch_id']} is not what {patches.parent.name}/{patches.name} has: {AGAIN}"
    return None


def check_gathered(results: Path, slides: Iterable[str]) -> list[FileFault]:
    """Check that metadata.csv matches the readable patches of the slides' tables.

    Parameters
    ----------
    results
        The folder of results.
    slides
        The slides that are ok, in the order of slides.csv.

    Raises
    ------
    MachineError
        When the machine is at fault.
    """
    check = TableCheck()

    def look(path: Path) -> str | None:
        for own, other in zip_longest(_rows(path), _all_rows(results, slides)):
            if own != other:
                slide = (other or own or [])[1]
                return f"its rows of {slide} are not those of {LABELLED}/{slide}.csv: {AGAIN}"
        return None

    check.attempt(results, layout.METADATA_TABLE, look)
    return check.faults


def _all_rows(results: Path, slides: Iterable[str]) -> Iterator[list[str]]:
    unreadable = {
        (row["slide"], row["patch_id"]) for row in read_table(results / layout.UNREADABLE_TABLE, ("patch_id",))
    }
    for slide in slides:
        rows = _rows(results / LABELLED / f"{slide}.csv")
        yield from (row for row in rows if (slide, row[0]) not in unreadable)


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield rows of a metadata table as lists that begin with patch and slide."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows, None)
        yield from rows
