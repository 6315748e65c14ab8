"""Publish tables and a report of an unfinished run, in a separate folder.

Jobs that failed because of the machine, or did not start, leave slides unfinished. The tables of the last finished run
stay as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slidemill.core import results_layout as layout
from slidemill.core.csv_tables import read_table
from slidemill.core.files import remove, replacing
from slidemill.core.job_log import last_error
from slidemill.core.outcomes import UNFINISHED, Outcome, read_outcome
from slidemill.errors import SlidemillError
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.plots import read_plot
from slidemill.report.versions import Run
from slidemill.runs.job_settings import FOREIGN, STAGES, Settings, foreign_stage
from slidemill.slides.discovery import SlideFile
from slidemill.stages.gather import SlideResults, write_cohort

NOT_STARTED = "it was not started, or was cut off"
GATE = layout.PASSED.format(target="")


@dataclass(frozen=True, slots=True)
class Work:
    """The planned results of a run.

    Parameters
    ----------
    slides, backends
        The slides by id, and the names of the backends.
    skip_unreadable
        Whether patches that cannot be read do not fail a slide that has others.
    label_map
        Names of labels to integers.
    run
        Parameters and versions.
    settings
        By slide, the digests of the settings of its outcomes, if they are known; others are of another run.
    features
        The names of the models that embed patches.
    """

    slides: Mapping[str, SlideFile]
    backends: Sequence[str]
    skip_unreadable: bool
    label_map: Mapping[str, int]
    run: Run
    settings: Mapping[str, Settings] = field(default_factory=dict)
    features: Sequence[str] = ()


def report_unfinished(unmade: Collection[str], work: Work) -> Path | None:
    """Publish the tables and report of an unfinished run; return their folder.

    Parameters
    ----------
    unmade
        The files that the run should have made but did not. Files of an earlier run in their places do not count.
    work
        What the run should have done.

    Returns
    -------
    Path or None
        None where only the gate failed, after the tables and the report.
    """
    if all(name.startswith(GATE) for name in unmade):
        remove(layout.UNFINISHED_FOLDER)
        return None
    # Snakemake calls no hook of a run without jobs: the gate is one, so that the next run removes the folder.
    remove(Path(layout.PASSED.format(target="all")))
    made = _Made(frozenset(unmade))
    slides = [_slide_results(slide, work, made) for slide in work.slides.values()]
    with replacing(layout.UNFINISHED_FOLDER) as aside:
        aside.mkdir()
        tables = layout.CohortTables.below(aside, features=bool(work.features))
        write_cohort(slides, work.skip_unreadable, tables)
        labelled = [outcome for one in slides for outcome in one.later if outcome.stage == "write_metadata"]
        render(
            aside / layout.REPORT,
            ReportData(
                slides=list(read_table(tables.slides)),
                stored=list(read_table(tables.stores)),
                validation=list(read_table(tables.validation)),
                measured=list(read_table(benchmark)) if (benchmark := made.path(layout.BENCHMARK_TABLE)) else [],
                plot=_read_plot(made.path(layout.BENCHMARK_PLOT)),
                candidates=list(read_table(tried)) if (tried := made.path(layout.CANDIDATES_TABLE)) else [],
                outcomes=[outcome for outcome in labelled if outcome.status != UNFINISHED],
                label_map=work.label_map,
                pictures={slide: own for slide in work.slides if (own := made.pictures(slide))},
                run=work.run,
                unreadable=list(read_table(tables.unreadable)),
                unmade=sorted(unmade),
            ),
        )
    return layout.UNFINISHED_FOLDER


def _read_plot(path: Path | None) -> str:
    """Return the text of the benchmark's plot; empty for none, or a damaged one, which is not worth the tables."""
    try:
        return read_plot(path) if path else ""
    except (SlidemillError, OSError):
        return ""


class _Made:
    """The result files that count as made."""

    def __init__(self, unmade: frozenset[str]) -> None:
        self._unmade = unmade

    def path(self, name: str) -> Path | None:
        return Path(name) if name not in self._unmade and Path(name).exists() else None

    def pictures(self, slide: str) -> Pictures | None:
        overlay, montage = (self.path(kind.format(slide=slide)) for kind in (layout.OVERLAY, layout.MONTAGE))
        return Pictures(overlay, montage) if overlay and montage else None


def _slide_results(slide: SlideFile, work: Work, made: _Made) -> SlideResults:
    """Return a slide's results, with an outcome per stage that did not end."""
    own = slide.slide
    stored = [layout.STORE_STAGES[backend] for backend in work.backends]
    stages = [*STAGES, *stored, *(layout.embed_stage(name) for name in work.features)]
    there = {stage: read_outcome(path) for stage in stages if (path := made.path(layout.outcome_file(stage, own)))}
    if foreign := foreign_stage(there, work.settings.get(own, {})):
        there[foreign] = Outcome(own, foreign, UNFINISHED, f"{layout.outcome_file(foreign, own)}: {FOREIGN}")
    facts, *later = [there[stage] if stage in there else _unfinished_outcome(own, stage) for stage in stages]
    validation = made.path(layout.VALIDATION.format(slide=own)) if work.backends else None
    if validation is None and work.backends:
        later.append(_unfinished_outcome(own, "validate_stores"))
    elif validation and (path := made.path(layout.outcome_file("validate_stores", own))):
        later.append(read_outcome(path))
    # Failures come before stages that were not started because of them.
    later.sort(key=lambda one: one.message.startswith(NOT_STARTED))
    facts = replace(facts, path=facts.path or slide.path)
    return SlideResults(facts, later, made.path(layout.METADATA.format(slide=own)), validation)


def _unfinished_outcome(slide: str, stage: str) -> Outcome:
    log = Path(layout.log_file(stage, slide))
    # A job empties its log when it begins: a log older than this run is of another.
    stale = layout.WORKER.exists() and log.exists() and log.stat().st_mtime < layout.WORKER.stat().st_mtime
    reason = ("" if stale else last_error(log)) or NOT_STARTED
    return Outcome(slide, stage.partition("/")[0], UNFINISHED, f"{reason}; the next run goes on with it")
