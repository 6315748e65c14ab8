"""Verify finished results without slides.

Snakemake does not notice damaged files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from slidemill.core.child_process import ChildKilledError, ChildProcess
from slidemill.core.csv_tables import read_cohort_table, read_table
from slidemill.core.results_layout import (
    COHORT_SEALS,
    FEATURES_TABLE,
    JOINED,
    SLIDES_TABLE,
    STORES_TABLE,
    SUFFIXES,
    VALIDATION_TABLE,
    store_path,
)
from slidemill.core.text import AGAIN, name_slide
from slidemill.errors import MachineError, SlidemillError, machine_error, machine_errors
from slidemill.runs.job_settings import gathered_settings
from slidemill.stages._joined_checks import OUTDATED, feature_faults, joined_fault
from slidemill.stages._table_checks import (
    NEEDED,
    FileFault,
    TableCheck,
    check_cohort,
    check_gathered,
    check_slide,
    miss_seals,
)
from slidemill.stores.checks import EVERY_STORE, Expected, Finding, StoreCheck, check_agreement, check_in_child
from slidemill.stores.registry import open_store

TableReader = Callable[[Path, Sequence[str]], Iterable[dict[str, str]]]

HDF5 = JOINED.parent.name
STORED = Path(STORES_TABLE)
OTHERWISE = f"is not what the outcome of its store has: {AGAIN}"


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of a verification: what was checked, and the faults.

    Parameters
    ----------
    faults
        The checks that failed.
    slides, stores
        Numbers of verified slides and stores.
    unlisted
        Stores that are in no table.
    joined
        The fault of the HDF5 file over all slides, empty if it has none. None if it was not checked: there is none, or
        there are other faults.
    outdated
        Whether that file was made of other tables, and so by an earlier run.
    files
        Faults of tables and outcomes.
    unsealed
        Tables and outcomes of an earlier version, which have no digest.
    unseen
        Why stores could not be checked: permissions, memory, a disk that is away. They may be undamaged.
    """

    faults: tuple[Finding, ...]
    slides: int
    stores: int
    unlisted: tuple[Path, ...]
    joined: str | None = None
    outdated: bool = False
    files: tuple[FileFault, ...] = ()
    unsealed: tuple[Path, ...] = ()
    unseen: tuple[str, ...] = ()


def read_results_table(
    results: Path, name: str, columns: Sequence[str], *, read: TableReader = read_cohort_table
) -> list[dict[str, str]]:
    """Read one of the cohort's tables, and return its rows.

    Parameters
    ----------
    results, name
        The folder of results, and the table in it.
    columns
        Columns that the table must have.
    read
        Reads the table; by default its seal is checked.

    Raises
    ------
    SlidemillError
        When `results` is not a folder of results, its run has not ended, or the table is damaged.
    """
    if not results.is_dir():
        raise SlidemillError(f"{results}: this folder does not exist: name the folder of results")
    table = results / name
    if not table.exists():
        what = "its run has not ended yet: finish the run first"
        if not (results / "stores").is_dir():
            what = "this is not a folder of results: name the one that the run wrote to"
        raise SlidemillError(f"{results}: has no {name}: {what}")
    try:
        return list(read(table, columns))
    except (OSError, ValueError) as error:
        raise machine_error(error, table) or SlidemillError(f"{table}: cannot be read ({error}): {AGAIN}") from None


def verify(
    results: Path, processes: int, report: Callable[[int, int, str, Sequence[Finding]], None] = lambda *_: None
) -> Verification:
    """Check the tables and outcomes of finished results, and all their stores.

    Parameters
    ----------
    results
        The folder of results of a run that has ended.
    processes
        Number of slides that are checked at once, each in a child process.
    report
        Called after each slide with the numbers of checked and of all slides, the slide's name in messages, and its
        failed checks.

    Raises
    ------
    SlidemillError
        When `results` is not a folder of results, or its run has not ended.
    """
    cohort = check_cohort(results)
    slides, backends = _expected_stores(results, cohort)
    names = {slide: name_slide(slide, row.get("path") or "") for slide, row in slides.items()}
    contents = _contents(results, cohort)
    # A run without stores lists none of any slide; what lies there is of another run.
    has_stores = bool(contents) or any(backends.values()) or bool(cohort.bad)
    settings = gathered_settings(results)
    tables: dict[str, TableCheck] = {}
    faults: dict[str, list[Finding]] = {}
    unseen: list[str] = []
    with ExitStack() as stack:
        idle: SimpleQueue[ChildProcess] = SimpleQueue()

        def look(slide: str) -> list[Finding]:
            process = idle.get()
            try:
                tables[slide] = process.call(
                    partial(check_slide, expected=settings.get(slide, {})), results, slide, backends[slide]
                )
                for backend, content in tables[slide].contents.items():
                    if content and contents.get((slide, backend), content) != content:
                        cohort.faults.append(FileFault(STORED, f"its row of {names[slide]}, {backend}, {OTHERWISE}"))
                        contents.pop((slide, backend))
                if not has_stores:
                    return []
                own = {backend: contents.get((slide, backend), "") for backend in backends[slide]}
                return _faults_of(process, results, slides[slide], contents=own, tables=tables[slide])
            except (MachineError, ChildKilledError) as error:
                unseen.append(f"{names[slide]}: {error}")
                return []
            finally:
                idle.put(process)

        pool = stack.enter_context(ThreadPoolExecutor(processes))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for _ in range(processes):
            idle.put(stack.enter_context(ChildProcess()))
        with machine_errors(results):  # where no thread can be started
            looking = {pool.submit(look, slide): slide for slide in slides}
        for done, future in enumerate(as_completed(looking), start=1):
            slide = looking[future]
            found = faults[slide] = future.result()
            report(done, len(looking), names[slide], found)
        joined, process = None, idle.get()
        miss_seals(cohort, tables.values())
        cohort.faults += [fault for own in tables.values() for fault in own.faults]
        try:
            if COHORT_SEALS not in cohort.bad and FEATURES_TABLE not in cohort.bad:
                cohort.faults += feature_faults(results)
            if not (cohort.faults or unseen) and (results / "outcomes").is_dir():
                good = [slide for slide, row in slides.items() if row["status"] == "ok"]
                cohort.faults += process.call(check_gathered, results, good)
            broken = any(one.backend == HDF5 for own in faults.values() for one in own) or bool(cohort.faults)
            if not (broken or unseen) and any(HDF5 in own for own in backends.values()):
                joined = joined_fault(process, results)
        except (MachineError, ChildKilledError) as error:
            unseen.append(f"{JOINED.parent.parent}: {error}")
    promised = {store_path(backend, slide) for slide, own in backends.items() for backend in own}
    return Verification(
        tuple(fault for slide in slides for fault in faults[slide]),
        len(slides),
        len(promised),
        tuple(sorted(set(stores_in(results)) - promised)),
        None if joined == OUTDATED else joined,
        joined == OUTDATED,
        tuple(cohort.faults),
        (*cohort.unsealed, *(path for own in tables.values() for path in own.unsealed)),
        tuple(sorted(unseen)),
    )


def _expected_stores(results: Path, cohort: TableCheck) -> tuple[dict[str, Mapping[str, str]], dict[str, list[str]]]:
    """Return the rows of slides.csv, and the backends of each slide's stores.

    If one of the tables is damaged, the existing stores are listed.
    """
    there = [path for path in stores_in(results) if cohort.bad & {SLIDES_TABLE, VALIDATION_TABLE}]
    slides: dict[str, Mapping[str, str]]
    if SLIDES_TABLE in cohort.bad:
        names = sorted({path.name.removesuffix(SUFFIXES[path.parent.name]) for path in there})
        slides = {slide: {"slide": slide, "status": "", "patches": ""} for slide in names}
    else:
        slides = {
            row["slide"]: row
            for row in read_results_table(results, SLIDES_TABLE, NEEDED[SLIDES_TABLE], read=read_table)
        }
    backends: dict[str, list[str]] = {slide: [] for slide in slides}
    if VALIDATION_TABLE in cohort.bad:
        for slide, own in backends.items():
            own += [backend for backend in SUFFIXES if store_path(backend, slide) in there]
        return slides, backends
    # The last run checked all its stores, so the table of its findings lists them.
    for row in read_results_table(results, VALIDATION_TABLE, NEEDED[VALIDATION_TABLE], read=read_table):
        own = backends.get(row["slide"], [])
        if row["backend"] in SUFFIXES and row["backend"] not in own:
            own.append(row["backend"])
    return slides, backends


def _contents(results: Path, cohort: TableCheck) -> dict[tuple[str, str], str]:
    """Return each store's content as listed in stores.csv, if that is undamaged."""
    if STORED.name in cohort.bad or not (results / STORED).exists():
        return {}
    rows = read_results_table(results, STORED.name, NEEDED[STORED.name], read=read_table)
    return {(row["slide"], row["backend"]): row["content"] for row in rows}


def stores_in(results: Path) -> list[Path]:
    """Return the paths of all stores by their names, relative to `results`."""
    return [
        path.relative_to(results)
        for backend, suffix in SUFFIXES.items()
        for path in (results / "stores" / backend).glob(f"*{suffix}")
        if not path.name.startswith(".") and path != results / JOINED
    ]


def _stored_content(path: Path) -> str:
    """Return the `Manifest.content` of the store at `path`."""
    with open_store(path) as store:
        return store.manifest.content


def _faults_of(
    process: ChildProcess, results: Path, row: Mapping[str, str], *, contents: Mapping[str, str], tables: TableCheck
) -> list[Finding]:
    """Return the failed checks of a slide's stores.

    `contents` are those listed in stores.csv.
    """
    slide = row["slide"]
    checks: dict[str, StoreCheck] = {}
    ids = tables.ids if row["status"] == "ok" else None
    other: list[Finding] = []
    for backend, content in contents.items():
        path = results / store_path(backend, slide)
        expected = Expected(slide, backend, ids, tables.sampling, row.get("fingerprint"))
        known = [one.decoded for one in checks.values() if one.decoded]
        checks[backend] = check_in_child(process, path, expected, known=known)
        if checks[backend].is_open and content and process.call(_stored_content, path) != content:
            other.append(Finding(slide, backend, "content", 0, f"it is another store than {STORED} has"))
    findings = [finding for check in checks.values() for finding in check.findings]
    findings.extend([*other, *check_agreement(slide, checks)])
    for backend, check in checks.items():
        count = check.findings[0].checked
        if row["status"] == "ok" and check.is_open and str(count) != row["patches"]:
            message = f"has {count} patches, and slides.csv {row['patches']}"
            findings.append(Finding(slide, backend, "count", count, message))
    if not contents:
        findings.append(Finding(slide, EVERY_STORE, "listed", 0, "validation.csv has no store of it: run again"))
    return [finding for finding in findings if finding.message]
