"""Show a run by `RunLog` in place of Snakemake's own output."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from types import FrameType
from typing import Any

from slidemill.core.job_log import LOG
from slidemill.errors import INTERRUPTED
from slidemill.terminal._end_summary import Results, summarize
from slidemill.terminal._screen import Screen
from slidemill.terminal.run_log import PREFIX, RunFacts, RunLog

OWN = ("verbose", "printshellcmds", "debug_dag", "show_failed_logs", "quiet", "dryrun")
"""Snakemake's settings of its output; where one is set, Snakemake prints by itself."""

STREAM_HANDLER = "DefaultStreamHandler"
"""The name of Snakemake's handler for the terminal."""

PREAMBLE = ("Config file ", "Creating specified working directory", "Assuming unrestricted shared filesystem usage")
"""How Snakemake's messages before a run begin that no user needs."""

TICK = 1.0
"""Seconds between two updates of the bar while no job begins or ends."""


class QuietRun:
    """Executes a run, and shows it if no option chooses Snakemake's own output.

    Parameters
    ----------
    execute
        Snakemake's function that executes a run.
    settings, manager
        Its `OutputSettings` and its `LoggerManager`.
    run
        What is known of the run.
    """

    def __init__(self, execute: Callable[..., bool], settings: Any, manager: Any, *, run: RunFacts) -> None:
        self._execute = execute
        self._settings = settings
        self._manager = manager
        self._run = run
        self._begun = 0.0
        self._is_told = False
        self._log: RunLog | None = None

    @property
    def is_shown(self) -> bool:
        """Whether a run is being shown now."""
        return self._log is not None

    def execute(self, *arguments: Any, **settings: Any) -> bool:
        """Execute a run.

        The process exits after a run that failed, if `finish` has said so: Snakemake would repeat it.
        """
        plugin = getattr(settings.get("executor_plugin"), "common_settings", None)
        is_run = plugin is not None and not plugin.dryrun_exec and not plugin.touch_exec
        if not is_run or not is_wanted(self._settings, self._manager):
            return self._execute(*arguments, **settings)
        self._begun = time.monotonic()
        with _replaced_output(self._manager, self._run) as log, _noticed_interrupts(log), _updated_bar(log):
            self._log = log
            try:
                done = self._execute(*arguments, **settings)
                if log.ended.is_idle:
                    self.finish(self._run.results, is_passed=True)
            except KeyboardInterrupt:
                log.interrupt()
                sys.exit(INTERRUPTED)
            except Exception:
                if self._is_told:
                    sys.exit(INTERRUPTED if log.ended.is_interrupted else 1)
                raise
            finally:
                self._log = None
        return done

    def say(self, message: str) -> None:
        """Show a message, which begins with slidemill's name, whoever shows the run."""
        if self._log:
            self._log.say(message.removeprefix(PREFIX))
        else:
            print(message, file=sys.stderr)

    def finish(self, tables: Path | None, *, is_passed: bool, labels: Sequence[str] = ()) -> None:
        """Show the summary of a run; `tables` is the folder of its tables, if any."""
        if (log := self._log) is None:
            return
        self._is_told = True
        log.finish(has_tables=tables == self._run.results)
        if log.ended.is_interrupted:
            return
        seconds = time.monotonic() - self._begun
        one = Results(
            results=self._run.results,
            tables=tables,
            labels=labels,
            seconds=seconds,
            ended=log.ended,
            is_passed=is_passed,
        )
        log.say("\n".join(summarize(one)), "green" if is_passed else "red")


def hide_preamble(settings: Any, manager: Any) -> None:
    """Keep Snakemake's messages before a run from the terminal."""
    if is_wanted(settings, manager):
        for handler in manager.logger.handlers:
            if handler.name == STREAM_HANDLER:
                handler.addFilter(lambda record: not str(record.msg).startswith(PREAMBLE))


def is_wanted(settings: Any, manager: Any) -> bool:
    """Return whether a run is shown by slidemill.

    It is not where an option chooses Snakemake's output, a logger plugin writes to the terminal, or there is no log
    file to keep the rest.
    """
    has_handler = any(handler.name == STREAM_HANDLER for handler in manager.logger.handlers)
    return has_handler and bool(manager.get_logfile()) and not any(getattr(settings, name, None) for name in OWN)


@contextmanager
def _replaced_output(manager: Any, run: RunFacts) -> Iterator[RunLog]:
    """Replace Snakemake's handler for the terminal in this block.

    What the process and its jobs write to standard error meanwhile, such as warnings of libraries, goes to Snakemake's
    log file: it would tear the progress apart.
    """
    logger = manager.logger
    own = [handler for handler in logger.handlers if handler.name == STREAM_HANDLER]
    sys.stderr.flush()
    kept = os.dup(2)
    target = os.open(manager.get_logfile()[0], os.O_WRONLY | os.O_APPEND)
    with os.fdopen(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace") as stream:
        handler = RunLog(Screen(stream), run)
        try:
            os.dup2(target, 2)
            for one in own:
                logger.removeHandler(one)
            logger.addHandler(handler)
            LOG.addHandler(handler)
            yield handler
        finally:
            LOG.removeHandler(handler)
            logger.removeHandler(handler)
            for one in own:
                logger.addHandler(one)
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            os.close(target)


@contextmanager
def _noticed_interrupts(log: RunLog) -> Iterator[None]:
    """Let the log know of Ctrl-C before jobs fail because of it."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        log.interrupt()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _updated_bar(log: RunLog) -> Iterator[None]:
    """Update the bar of a terminal every second, so that long jobs do not look dead."""
    if not log.is_live:
        yield
        return
    is_over = Event()

    def update() -> None:
        while not is_over.wait(TICK):
            log.update(time.time())

    thread = Thread(target=update, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
