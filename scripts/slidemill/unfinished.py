"""What there is of a run whose jobs did not all end: for each slide, its outcomes so far, and which job is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from slidemill.cohort import SlideResults
from slidemill.outcomes import Outcome, read_outcome


def stages_of(slide: str, backends: Sequence[str]) -> Iterator[tuple[str, Path, Path]]:
    """Yield, for each job of a slide in their order, its stage, what it makes, and its log, below the results."""
    names = [(stage, stage) for stage in ("sample_patches", "write_metadata")]
    names += [("store_patches", f"store_patches/{backend}") for backend in backends]
    yield "discover_slides", Path(f"slides/{slide}.json"), Path(f"logs/discover_slides/{slide}.log")
    for stage, name in names:
        yield stage, Path(f"outcomes/{name}/{slide}.json"), Path(f"logs/{name}/{slide}.log")
    yield "validate_stores", Path(f"validation/{slide}.csv"), Path(f"logs/validate_stores/{slide}.log")


def is_told(summary: Path, made: Iterable[Path]) -> bool:
    """Return whether `summary`, a table or the report, was written after all that it is made of."""
    try:
        written = summary.stat().st_mtime_ns
        return all(path.stat().st_mtime_ns <= written for path in made)
    except FileNotFoundError:
        return False


def results_so_far(results: Path, slide: str, path: str, backends: Sequence[str]) -> SlideResults:
    """Return what there is of a slide; the first job that is missing becomes a failed outcome.

    Parameters
    ----------
    results
        The folder of results.
    slide, path
        The slide's id, and its path as `slidemill.discovery.SlideFile` has it.
    backends
        Those that the run has.
    """
    outcomes: list[Outcome] = []
    for stage, made, log in stages_of(slide, backends):
        if not (results / made).exists():
            outcomes.append(Outcome(slide, stage, "failed", _why(results / log)))
            break
        if made.suffix == ".json":
            outcomes.append(read_outcome(results / made))
    facts = outcomes[0]
    if "path" not in facts.details:
        facts = Outcome(slide, facts.stage, facts.status, facts.message, {"path": path, "fingerprint": ""})
    tables = [results / kind / f"{slide}.csv" for kind in ("metadata", "validation")]
    metadata, validation = (table if table.exists() else None for table in tables)
    return SlideResults(facts, outcomes[1:], metadata, validation)


def _why(log: Path) -> str:
    """Return why a job did not end, by the last error of its log."""
    again = "the next run does it again"
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"its job was not run; {again}"
    errors = [line.split(" ERROR ", 1)[1] for line in lines if " ERROR " in line]
    if not errors:
        return f"its job was cut short; {again}"
    # A traceback ends with the exception itself.
    reason = lines[-1] if lines[-1].strip() and " ERROR " not in lines[-1] else errors[-1]
    return f"its job failed ({reason.strip()}); {again}"
