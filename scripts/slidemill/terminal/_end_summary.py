"""The summary at the end of a run, of at most ten lines."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import UNFINISHED, read_outcome
from slidemill.core.results_layout import REPORT, SLIDES_TABLE, STORES_TABLE, outcome_file
from slidemill.core.text import format_count, format_duration, format_size
from slidemill.errors import SlidemillError
from slidemill.terminal._progress import Ended

MOST_LABELS = 6
STATES = ("ok", "empty", "failed", UNFINISHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """What a run came to, for its summary.

    Parameters
    ----------
    results
        The folder of results.
    tables
        The folder of this run's tables and report: the results, or a folder in them; None where it made none.
    labels
        Names of labels in the order of `labels.map`.
    seconds
        Duration of the run.
    ended
        What the handler counted.
    is_passed
        Whether the run succeeded.
    """

    results: Path
    tables: Path | None
    labels: Iterable[str]
    seconds: float
    ended: Ended
    is_passed: bool


def summarize(one: Results) -> list[str]:
    """Return the lines of the summary; the last has the report's path, if there is one."""
    ended = one.ended
    if ended.is_idle:
        report = one.results / REPORT
        return [f"Nothing to be done: the results are up to date{f': {report}' if report.exists() else ''}"]
    lines = [_head(one)]
    if one.tables and (one.tables / SLIDES_TABLE).exists():
        rows = list(read_table(one.tables / SLIDES_TABLE))
        states = Counter(row["status"] for row in rows)
        shown = [state for state in STATES if state != UNFINISHED or states[state]]
        lines.append(_line("slides", ", ".join(f"{states[state]:,} {state}" for state in shown)))
        lines.append(_line("patches", _patches(one, rows)))
        lines.append(_line("stores", _stores(one.tables / STORES_TABLE, ended.written)))
    elif ended.written:
        lines.append(_line("written", format_size(ended.written)))
    if ended.warnings:
        lines.append(_line("warnings", f"{ended.warnings:,}, shown above and at the top of the report"))
    if one.tables or ended.written or not one.is_passed:
        lines.append(_line("next", _next(one)))
    if one.tables and (report := one.tables / REPORT).exists():
        lines.append(_line("report", str(report)))
    return lines


def _head(one: Results) -> str:
    ended, after = one.ended, f"after {format_duration(one.seconds)}"
    if ended.is_interrupted:
        return f"interrupted {after}: finished files are kept in {one.results}"
    if one.is_passed:
        return f"done {after}"
    others = {job for job in ended.failed_jobs if job.rule != "gate"}
    if others:
        return f"not finished {after}: {format_count(len(others), 'job')} failed"
    return f"failed {after}: everything is written, but the results do not pass"


def _line(name: str, text: str) -> str:
    return f"  {name:<9} {text}"


def _patches(one: Results, rows: Iterable[Mapping[str, str]]) -> str:
    """Return the number of patches of slides that are ok, and by label."""
    ok = [row for row in rows if row["status"] == "ok"]
    total = sum(int(row["patches"] or 0) for row in ok)
    counts: Counter[str] = Counter()
    for row in ok:
        try:
            labels = read_outcome(one.results / outcome_file("write_metadata", row["slide"])).labels
        except (SlidemillError, OSError):
            continue
        counts.update(labels.counts if labels else {})
    order = {name: place for place, name in enumerate(one.labels)}
    names = sorted(counts, key=lambda name: (order.get(name, len(order)), name))
    shown = [f"{name} {counts[name]:,}" for name in names[:MOST_LABELS]]
    if len(names) > MOST_LABELS:
        shown.append(f"{len(names) - MOST_LABELS} more labels")
    return f"{total:,}" + (f" ({', '.join(shown)})" if shown else "")


def _stores(table: Path, written: int) -> str:
    """Return the size of all stores, by backend, and what this run wrote of it."""
    sizes: Counter[str] = Counter()
    for row in read_table(table) if table.exists() else ():
        sizes[row["backend"]] += int(row["bytes"] or 0)
    if not sizes:
        return "none"
    each = ", ".join(f"{name} {format_size(size)}" for name, size in sizes.items())
    total = sum(sizes.values())
    own = "" if written == total else f"; {format_size(written)} written by this run"
    return f"{format_size(total)} ({each}){own}" if len(sizes) > 1 else f"{each}{own}"


def _next(one: Results) -> str:
    ended = one.ended
    if ended.is_interrupted or any(job.rule != "gate" for job in ended.failed_jobs):
        return "run the same command again: it goes on where this run ended"
    if not one.is_passed:
        slides = len(ended.failed_slides)
        allowed = f", or set max_failed: {slides} to accept failed slides" if slides else ""
        return f"correct what is listed above and run the same command again{allowed}"
    if one.tables is None:
        return "run the same command without a target to make the tables and the report"
    return f"{_command()} verify {shlex.quote(str(one.results))}"


def _command() -> str:
    """Return how to call slidemill by the interpreter of this run."""
    program = Path(sys.executable).with_name("slidemill")
    return shlex.quote(str(program)) if program.exists() else f"{shlex.quote(sys.executable)} -m slidemill"
