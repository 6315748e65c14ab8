"""What a run that did not finish has to tell: its tables and its report, in a folder of their own.

Jobs that failed for the machine's sake, or were never started, leave slides without an end. The tables of the last
run that finished stay as they are beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from slidemill.core.csv_tables import read_table
from slidemill.core.files import remove, replacing
from slidemill.core.job_log import last_error
from slidemill.core.outcomes import UNFINISHED, Outcome, read_outcome
from slidemill.core.results_layout import (
    BENCHMARK_PLOT,
    BENCHMARK_TABLE,
    METADATA,
    MONTAGE,
    OVERLAY,
    PASSED,
    REPORT,
    STORE_STAGES,
    UNFINISHED_FOLDER,
    VALIDATION,
    WORKER,
    log_file,
    outcome_file,
)
from slidemill.report.html_report import Pictures, ReportData, render
from slidemill.report.versions import Run
from slidemill.runs.settings import FOREIGN, STAGES, Settings, foreign_stage
from slidemill.slides.discovery import SlideFile
from slidemill.stages.gather import CohortTables, SlideResults, write_cohort

NOT_STARTED = "it was not started, or was cut off"
GATE = PASSED.format(target="")


@dataclass(frozen=True, slots=True)
class Work:
    """What a run was to do.

    Parameters
    ----------
    slides
        By id.
    backends
        The stores' names.
    skip_unreadable
        Whether a slide goes on without its patches that cannot be read.
    label_map
        Names of labels to integers.
    run
        For the report.
    settings
        By slide, the digests of the settings that its outcomes must have; none are checked where they are not known.
    """

    slides: Mapping[str, SlideFile]
    backends: Sequence[str]
    skip_unreadable: bool
    label_map: Mapping[str, int]
    run: Run
    settings: Mapping[str, Settings] = field(default_factory=dict)


def report_unfinished(unmade: Collection[str], work: Work) -> Path | None:
    """Publish tables and report of what is there, in the working directory, and return the folder.

    Parameters
    ----------
    unmade
        The files that the run should have made and has not; what an earlier run left in their places does not count.
    work
        What the run was to do.

    Returns
    -------
    Path or None
        None where nothing but the gate has failed, after the tables and the report.
    """
    if all(name.startswith(GATE) for name in unmade):
        remove(UNFINISHED_FOLDER)
        return None
    # Snakemake calls no hook of a run that has nothing to do: this leaves it the gate, and it removes the folder then.
    remove(Path(PASSED.format(target="all")))
    made = _Made(frozenset(unmade))
    slides = [_slide_results(slide, work, made) for slide in work.slides.values()]
    with replacing(UNFINISHED_FOLDER) as aside:
        aside.mkdir()
        tables = CohortTables.below(aside)
        write_cohort(slides, work.skip_unreadable, tables)
        labelled = [outcome for one in slides for outcome in one.later if outcome.stage == "write_metadata"]
        render(
            aside / REPORT,
            ReportData(
                slides=list(read_table(tables.slides)),
                validation=list(read_table(tables.validation)),
                measured=list(read_table(benchmark)) if (benchmark := made.path(BENCHMARK_TABLE)) else [],
                outcomes=[outcome for outcome in labelled if outcome.status != UNFINISHED],
                label_map=work.label_map,
                plot=made.path(BENCHMARK_PLOT),
                pictures={slide: own for slide in work.slides if (own := made.pictures(slide))},
                run=work.run,
                unreadable=list(read_table(tables.unreadable)),
                unmade=sorted(unmade),
            ),
        )
    return UNFINISHED_FOLDER


class _Made:
    """The files of the results that count as made."""

    def __init__(self, unmade: frozenset[str]) -> None:
        self._unmade = unmade

    def path(self, name: str) -> Path | None:
        return Path(name) if name not in self._unmade and Path(name).exists() else None

    def pictures(self, slide: str) -> Pictures | None:
        overlay, montage = (self.path(kind.format(slide=slide)) for kind in (OVERLAY, MONTAGE))
        return Pictures(overlay, montage) if overlay and montage else None


def _slide_results(slide: SlideFile, work: Work, made: _Made) -> SlideResults:
    """Return what there is of a slide; a stage that did not end has an outcome that says so."""
    own = slide.slide
    stages = [*STAGES, *(STORE_STAGES[backend] for backend in work.backends)]
    there = {stage: read_outcome(path) for stage in stages if (path := made.path(outcome_file(stage, own)))}
    if foreign := foreign_stage(there, work.settings.get(own, {})):
        there[foreign] = Outcome(own, foreign, UNFINISHED, f"{outcome_file(foreign, own)}: {FOREIGN}")
    facts, *later = [there[stage] if stage in there else _not_ended(own, stage) for stage in stages]
    validation = made.path(VALIDATION.format(slide=own))
    if validation is None:
        later.append(_not_ended(own, "validate_stores"))
    elif path := made.path(outcome_file("validate_stores", own)):
        later.append(read_outcome(path))
    # What failed is told before what has not been started for it.
    later.sort(key=lambda one: one.message.startswith(NOT_STARTED))
    facts = replace(facts, path=facts.path or slide.path)
    return SlideResults(facts, later, made.path(METADATA.format(slide=own)), validation)


def _not_ended(slide: str, stage: str) -> Outcome:
    log = Path(log_file(stage, slide))
    # A job empties its log when it begins: a log older than this run is of another.
    stale = WORKER.exists() and log.exists() and log.stat().st_mtime < WORKER.stat().st_mtime
    reason = ("" if stale else last_error(log)) or NOT_STARTED
    return Outcome(slide, stage.partition("/")[0], UNFINISHED, f"{reason}; the next run goes on with it")
