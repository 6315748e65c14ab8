"""Checking finished results again, from the stores alone: damage changes no time stamp that Snakemake looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from slidemill.checking import EVERY_STORE, Expected, Finding, StoreCheck, check_agreement, check_apart
from slidemill.columns import SLIDE_COLUMNS, VALIDATION_COLUMNS
from slidemill.errors import MachineError, SlidemillError, machine_error
from slidemill.isolation import Apart, EndedError
from slidemill.joinedcheck import joined_fault, older
from slidemill.stores.paths import JOINED, SUFFIXES, store_path
from slidemill.tables import read_table

HDF5 = JOINED.parent.name


@dataclass(frozen=True, slots=True)
class Verification:
    """What was looked at, and what is wrong.

    Parameters
    ----------
    faults
        The checks that failed.
    slides, stores
        How many slides and stores were looked at.
    unlisted
        Stores that the tables do not have.
    joined
        What is wrong with the one HDF5 file over all slides, empty where nothing is; None where it was not looked at:
        there is none to look at, or its stores are not whole.
    outdated
        Whether that is because it is older than the tables, and not of the last run.
    unseen
        Why stores could not be looked at, which says nothing of them: permissions, memory, a drive that is away.
    """

    faults: tuple[Finding, ...]
    slides: int
    stores: int
    unlisted: tuple[Path, ...]
    joined: str | None = None
    outdated: bool = False
    unseen: tuple[str, ...] = ()


def read_results_table(results: Path, name: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of one of the cohort's tables.

    Raises
    ------
    SlidemillError
        When `results` is no folder of results, its run has not ended yet, or the table is damaged.
    """
    if not results.is_dir():
        raise SlidemillError(f"{results}: there is no such folder: name the folder of results")
    table = results / name
    if not table.exists():
        what = "its run has not ended yet: run the workflow to its end first"
        if not (results / "stores").is_dir():
            what = "this is no folder of results: name the one that the run wrote to"
        raise SlidemillError(f"{results}: has no {name}: {what}")
    try:
        return list(read_table(table, columns))
    except (OSError, ValueError) as error:
        raise machine_error(error, table) or SlidemillError(
            f"{table}: cannot be read ({error}): remove it and run again"
        ) from None


def verify(
    results: Path, processes: int, told: Callable[[int, int, Sequence[Finding]], None] = lambda *_: None
) -> Verification:
    """Check every store that the tables in `results` have: each by itself, and a slide's stores against each other.

    Neither the slides nor the configuration are needed.

    Parameters
    ----------
    results
        The folder of results of a run that has ended.
    processes
        How many slides are looked at side by side, each in a process of its own.
    told
        Called after each slide, with how many are done, how many there are, and what is wrong with this one.

    Raises
    ------
    SlidemillError
        When `results` is no folder of results, or its run has not ended yet.
    """
    slides = {row["slide"]: row for row in read_results_table(results, "slides.csv", SLIDE_COLUMNS)}
    # The last run looked at each of its stores, so the table of its findings says which there must be.
    backends: dict[str, list[str]] = {slide: [] for slide in slides}
    for row in read_results_table(results, "validation.csv", VALIDATION_COLUMNS):
        own = backends.get(row["slide"], [])
        if row["backend"] in SUFFIXES and row["backend"] not in own:
            own.append(row["backend"])
    faults: dict[str, list[Finding]] = {}
    unseen: list[str] = []
    with ExitStack() as stack:
        idle: SimpleQueue[Apart] = SimpleQueue()

        def look(slide: str) -> list[Finding]:
            process = idle.get()
            try:
                return _faults_of(process, results, slides[slide], backends[slide])
            except (MachineError, EndedError) as error:
                unseen.append(f"{slide}: {error}")
                return []
            finally:
                idle.put(process)

        pool = stack.enter_context(ThreadPoolExecutor(processes))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for _ in range(processes):
            idle.put(stack.enter_context(Apart()))
        looking = {pool.submit(look, slide): slide for slide in slides}
        for done, future in enumerate(as_completed(looking), start=1):
            found = faults[looking[future]] = future.result()
            told(done, len(looking), found)
        joined = None
        broken = any(one.backend == HDF5 for own in faults.values() for one in own)
        if not (broken or unseen) and any(HDF5 in own for own in backends.values()):
            try:
                joined = joined_fault(idle.get(), results)
            except (MachineError, EndedError) as error:
                unseen.append(f"{JOINED}: {error}")
        # A run to the stores alone makes the tables anew, and not this file.
        outdated = bool(joined) and (results / JOINED).exists() and older(results)
    promised = {store_path(backend, slide) for slide, own in backends.items() for backend in own}
    return Verification(
        tuple(fault for slide in slides for fault in faults[slide]),
        len(slides),
        len(promised),
        tuple(sorted(set(stores_in(results)) - promised)),
        None if outdated else joined,
        outdated,
        tuple(sorted(unseen)),
    )


def stores_in(results: Path) -> list[Path]:
    """Return the paths of all that is named as a store in `results`, relative to it."""
    return [
        path.relative_to(results)
        for backend, suffix in SUFFIXES.items()
        for path in (results / "stores" / backend).glob(f"*{suffix}")
        if not path.name.startswith(".") and path != results / JOINED
    ]


def _faults_of(process: Apart, results: Path, row: Mapping[str, str], backends: Sequence[str]) -> list[Finding]:
    """Return the checks of one slide's stores that failed."""
    slide = row["slide"]
    checks: dict[str, StoreCheck] = {}
    for backend in backends:
        expected = Expected(slide, backend, fingerprint=row["fingerprint"])
        checks[backend] = check_apart(process, results / store_path(backend, slide), expected)
    findings = [finding for check in checks.values() for finding in check.findings]
    findings.extend(check_agreement(slide, checks))
    for backend, check in checks.items():
        count = check.findings[0].checked
        if row["status"] == "ok" and check.opened and str(count) != row["patches"]:
            message = f"has {count} patches, and slides.csv {row['patches']}"
            findings.append(Finding(slide, backend, "count", count, message))
    if not backends:
        findings.append(Finding(slide, EVERY_STORE, "listed", 0, "validation.csv has no store of it: run again"))
    return [finding for finding in findings if finding.message]
