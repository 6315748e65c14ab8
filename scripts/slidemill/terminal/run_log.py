"""Handle Snakemake's log records of a run: show what a user needs, and drop the rest.

Snakemake's own log file keeps all records.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from slidemill.core.job_log import last_error_lines
from slidemill.core.results_layout import SLIDES_TABLE
from slidemill.core.text import format_count, format_name, name_slide
from slidemill.terminal._findings import (
    FAILED,
    JOB,
    WARNING,
    Finding,
    Repeats,
    names_of,
    read_cohort_findings,
    read_findings,
    without_names,
)
from slidemill.terminal._interrupts import is_ending
from slidemill.terminal._progress import Ended, Job, Progress
from slidemill.terminal._screen import Screen

PREFIX = "slidemill: "
NOTHING = "Nothing to be done"
"""How Snakemake's message begins where all files are up to date."""
PLANNING = "Building DAG of jobs"
TERMINATING = "Terminating processes on user request"
STOPPING = "Will exit after finishing currently running jobs"
REDUNDANT = ("Exiting because a job execution failed", "CalledProcessError", "SpawnedJobError")
"""In Snakemake's errors that add nothing to the failure of a job."""
PRINTING = ("estimate",)
"""Rules whose jobs print to the terminal by themselves."""
SLOW = ("conda", "singularity")
"""Snakemake's modules whose messages are shown, since long waits follow them."""
STEPS = 10
"""Lines of progress in a run, where there is no terminal."""
PAUSE = 300.0
"""Seconds after which a line of progress is written all the same."""
MOST_LINES = 10
"""Findings that are shown at a time."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What the handler needs to know of a run.

    Parameters
    ----------
    results
        The folder of results.
    slides
        By id of each slide, those without jobs included, its path.
    planned
        Returns the jobs that will run; called when the plan is made.
    attempts
        Returns how many times a rule's job is tried.
    skip_unreadable
        Whether patches that cannot be read do not fail a slide that has others.
    """

    results: Path
    slides: Mapping[str, str]
    planned: Callable[[], Iterable[Job]]
    attempts: Callable[[str], int]
    skip_unreadable: bool = False


class RunLog(logging.Handler):
    """A log handler that shows the progress, warnings and failures of a run."""

    def __init__(self, screen: Screen, run: RunFacts) -> None:
        super().__init__()
        self._screen = screen
        self._run = run
        self._jobs: dict[int, Job] = {}
        self._tries: dict[Job, int] = {}
        self._shown_jobs: set[Job] = set()
        self._progress = Progress((), 0.0)
        self._shown_at = (0.0, 0.0)
        self._repeats = Repeats()
        self._is_stopping = False
        self._is_hidden = False
        self._is_due = False
        self._guard = RLock()
        self._events: Mapping[str, Callable[[Any], None]] = {
            "": self._on_text,
            "run_info": self._on_run_info,
            "job_info": self._on_job_info,
            "job_finished": self._on_job_finished,
            "job_error": self._on_job_error,
            "group_error": self._on_group_error,
            "error": self._on_error,
        }
        self.ended = Ended()

    def emit(self, record: logging.LogRecord) -> None:
        """Show or count a record.

        Raises
        ------
        KeyboardInterrupt
            When Ctrl-C came and had no effect: Snakemake's handlers, which come first, ignore it while they write.
        """
        if self._is_due and threading.current_thread() is threading.main_thread():
            self._is_due = False
            if not is_ending():
                raise KeyboardInterrupt
        try:
            handle = self._events.get(str(getattr(record, "event", None) or ""))
            if handle is not None:
                with self._guard:
                    handle(record)
        except Exception:
            self.handleError(record)

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal with a bar."""
        return self._screen.is_live

    def update(self, now: float) -> None:
        """Update the bar."""
        with self._guard:
            if self._progress.total and not self._is_hidden:
                self._draw(now)

    def say(self, text: str, colour: str = "") -> None:
        """Show a message above the progress."""
        self._screen.say(PREFIX + text, colour)

    def interrupt(self) -> None:
        """Say that the run is interrupted; jobs that fail from now on are not shown."""
        if not self.ended.is_interrupted:
            self.ended.is_interrupted = self._is_due = True
            self._screen.clear()
            self.say(f"interrupted: finished files are kept in {self._run.results}; run the same command to go on")

    def finish(self, *, has_tables: bool) -> None:
        """End the progress.

        With tables of this run, what they have and was not shown yet is shown.
        """
        self._screen.clear()
        if self.ended.is_interrupted:
            return
        if has_tables:
            self._show(read_cohort_findings(self._run.results))
        for line in self._repeats.describe():
            self.say(line)
        self.ended.warnings = self._repeats.count(WARNING)

    def _on_run_info(self, record: logging.LogRecord) -> None:
        self._progress = Progress(self._run.planned(), record.created)
        self._screen.clear()
        self._shown_at = (0.0, record.created)
        own, every = self._progress.slides, len(self._run.slides)
        slides = format_count(every, "slide") if own in (0, every) else f"{own:,} of {format_count(every, 'slide')}"
        self.say(f"{slides}, {format_count(self._progress.total, 'job')}; results in {self._run.results}")

    def _on_job_info(self, record: Any) -> None:
        job = self._jobs[record.jobid] = Job(record.rule_name, (record.wildcards or {}).get("slide", ""))
        self._progress.start(job, record.created)
        self._is_hidden = job.rule in PRINTING
        if self._is_hidden:
            self._screen.clear()
        else:
            self._draw(record.created)

    def _on_job_finished(self, record: Any) -> None:
        job = self._jobs.get(record.job_id)
        if job is None:
            return
        found = read_findings(self._run.results, job, skip_unreadable=self._run.skip_unreadable)
        self._progress.finish(job, record.created, found.patches)
        self.ended.written += found.bytes
        self._show(found.findings)
        if job.rule == "gather_results":
            self._show(read_cohort_findings(self._run.results))
        self._draw(record.created)

    def _on_job_error(self, record: Any) -> None:
        # Those of a group follow the group's own record.
        if not self.ended.is_interrupted and not getattr(record, "indent", False):
            self._fail(self._jobs.get(record.jobid) or Job(record.rule_name), record.log)

    def _on_group_error(self, record: Any) -> None:
        if self.ended.is_interrupted:
            return
        failed = [info for info in record.job_error_info if self._error_lines(info["log"])]
        for info in failed:
            self._fail(self._jobs.get(info["jobid"]) or Job(info["rule_name"]), info["log"])
        if not failed:
            rules = ", ".join(dict.fromkeys(info["rule_name"] for info in record.job_error_info))
            logs = "".join(f"\n  log: {path}" for path in record.aux_logs)
            self.say(f"a group of jobs failed ({rules}), and their logs give no reason{logs}", "red")

    def _on_error(self, record: logging.LogRecord) -> None:
        text = record.getMessage().strip().removeprefix(PREFIX)
        subject = getattr(record, "subject", "")
        if self.ended.is_interrupted or any(word in text for word in REDUNDANT):
            return
        if not subject or self._repeats.is_new(WARNING, without_names(text, [subject]), subject):
            self.say(text, "red" if record.levelno >= logging.ERROR else "yellow")

    def _on_text(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith(NOTHING):
            self.ended.is_idle = True
        elif text.startswith(PLANNING):
            self._screen.show(f"{PREFIX}planning")
        elif text.startswith(TERMINATING):
            self.interrupt()
        elif text.startswith(STOPPING):
            if not self._is_stopping:
                self.say("stopping after the jobs that are running; run the same command again to go on")
            self._is_stopping = True
        elif record.levelno >= logging.WARNING:
            self._on_error(record)
        elif record.module in SLOW and record.levelno >= logging.INFO:
            self.say(text.strip())

    def _show(self, findings: Iterable[Finding]) -> None:
        """Show the findings that are new; a slide fails once, whatever later stages find."""
        new = []
        for one in findings:
            if one.kind == FAILED:
                if one.slide in self.ended.failed_slides:
                    continue
                self.ended.failed_slides.add(one.slide)
            if self._repeats.is_new(one.kind, one.reason, one.slide, format_name(one.path)):
                new.append(one)
        for one in new[:MOST_LINES]:
            self.say(one.line, "red" if one.kind == FAILED else "yellow")
        if len(new) > MOST_LINES:
            self.say(f"{len(new) - MOST_LINES:,} more failures and warnings are in {self._run.results / SLIDES_TABLE}")

    def _fail(self, job: Job, logs: Sequence[str]) -> None:
        """Show why a job failed, unless the reason was shown before."""
        lines = self._error_lines(logs) or ["its log gives no reason"]
        if job.rule == "gate":
            self._show_gate(lines)
            self.ended.failed_jobs.add(job)
            return
        tried = self._tries[job] = self._tries.get(job, 0) + 1
        most = self._run.attempts(job.rule)
        path = self._run.slides.get(job.slide, "")
        name = f"{job.rule} of {name_slide(job.slide, path)}" if job.slide else job.rule
        text = "\n".join(lines)
        if tried >= most:
            self.ended.failed_jobs.add(job)
        if self._repeats.is_new(JOB, without_names(text, names_of(job.slide, path)), name):
            more = f"; trying again, {most} times at most" if tried < most else ""
            paths = "".join(f"\n  log: {self._run.results / path}" for path in logs)
            self.say(f"{name} failed: {text}{more}{paths}", "red")
            self._shown_jobs.add(job)
        elif tried == most and job in self._shown_jobs:
            self.say(f"{name} failed {most} times; the next run tries it again", "red")

    def _show_gate(self, lines: Sequence[str]) -> None:
        """Show why the run does not pass, without the slides that were shown before."""
        found = list(read_cohort_findings(self._run.results))
        self._show(found)
        known = {name_slide(one.slide, one.path) for one in found if one.kind == FAILED}
        known |= {name_slide(slide, self._run.slides.get(slide, "")) for slide in self.ended.failed_slides}
        heads = tuple(f"  {name}  " for name in (*known, "slide"))
        left = [line for line in lines if not line.startswith(heads)]
        self.say("\n".join(left).rstrip(":"), "red")

    def _error_lines(self, logs: Iterable[str]) -> list[str]:
        """Return the last error in the first log that has one."""
        return next(filter(None, (last_error_lines(self._run.results / path) for path in logs)), [])

    def _draw(self, now: float) -> None:
        """Update the bar, or write a line of progress now and then."""
        if self.ended.is_interrupted:
            return
        progress, screen = self._progress, self._screen
        failed = len(self.ended.failed_slides)
        if screen.is_live:
            screen.show(progress.bar(now, screen.width - 1, has_blocks=screen.has_blocks, failed=failed))
            return
        fraction, at = self._shown_at
        is_step = int(progress.fraction * STEPS) > int(fraction * STEPS)
        if is_step or (now >= at + PAUSE and progress.fraction > fraction):
            self._shown_at = (progress.fraction, now)
            self.say(f"{int(progress.fraction * 100)} %: {', '.join(progress.describe(now))}")
