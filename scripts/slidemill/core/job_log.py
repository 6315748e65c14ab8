"""The log of a job: a file with the time of each line, and the progress of long work."""

from __future__ import annotations

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from slidemill.errors import SlidemillError, explain

Item = TypeVar("Item")
LOG = logging.getLogger("slidemill")
ERROR = re.compile(r"\S+ \S+ ERROR ")
"""How the line of an error begins in a job's log."""


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send slidemill's log to the file at `path` while the block runs.

    An error that slidemill raised on purpose, or that the machine is to blame for, ends the process with its message
    alone; any other is raised on. The log has the traceback of all but the first.
    """
    try:
        handler = _Handler(path, mode="w", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        sys.exit(f"slidemill: {explain(error)}")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    try:
        yield
    except Exception as error:
        message = explain(error)
        if not isinstance(error, SlidemillError):
            LOG.error("this job failed; it will be tried again\n%s", traceback.format_exc())
        if message is None:
            raise
        LOG.error("%s", message)
        sys.exit(f"slidemill: {message}")
    finally:
        LOG.removeHandler(handler)
        with suppress(OSError):
            handler.close()


class _Handler(logging.FileHandler):
    """A log that a full disk cuts short; what the job has to tell is told elsewhere, too."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


def last_error(path: Path) -> str:
    """Return the last error that a job's log tells, in one line, or nothing where there is none."""
    if not path.is_file():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [place for place, line in enumerate(lines) if ERROR.match(line)]
    if not errors:
        return ""
    first = ERROR.sub("", lines[errors[-1]])
    # Below a traceback, its last line says what went wrong.
    return lines[-1] if len(lines) > errors[-1] + 1 and lines[errors[-1] + 1].startswith("Traceback") else first


def log_progress(items: Iterable[Item], total: int, what: str, every: float = 10.0) -> Iterator[Item]:
    """Yield `items`, and log how many are done, how fast, and how long the rest will take.

    Parameters
    ----------
    items
        What is worked on.
    total
        How many there are.
    what
        Their name in the log, in the plural.
    every
        Seconds between two lines.
    """
    begun = told = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - told >= every:
            told = now
            rate = done / (now - begun)
            left = (total - done) / rate
            LOG.info("%d of %d %s, %.0f a second, %.0f s to go", done, total, what, rate, left)
    seconds = time.monotonic() - begun
    LOG.info("%d of %d %s in %.1f s", done, total, what, seconds)
