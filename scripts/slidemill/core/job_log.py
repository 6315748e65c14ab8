"""Log of a job: messages with their time, and progress of long work."""

from __future__ import annotations

import logging
import re
import resource
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
"""The start of an error's line in a job's log."""


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send slidemill's log to the file at `path` while the block runs.

    A `SlidemillError`, or a fault of the machine, ends the process with its message; any other error is raised.
    The log has a traceback of all errors but `SlidemillError`.
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
    """A log handler that ignores write errors, as on a full disk.

    Errors are also reported elsewhere.
    """

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass


def last_error(path: Path) -> str:
    """Return the last error in a job's log as one line; empty without one."""
    return next(iter(last_error_lines(path)), "")


def last_error_lines(path: Path) -> list[str]:
    """Return the lines of the last error in a job's log; none without one."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [place for place, line in enumerate(lines) if ERROR.match(line)]
    if not errors:
        return []
    first, *others = lines[errors[-1] :]
    # The last line of a traceback is the error.
    return lines[-1:] if others and others[0].startswith("Traceback") else [ERROR.sub("", first), *others]


def log_progress(items: Iterable[Item], total: int, what: str, *, every: float = 10.0) -> Iterator[Item]:
    """Yield `items`, and log their number, their rate and the remaining time.

    Parameters
    ----------
    items
        The items.
    total
        Their number.
    what
        Their name in the log, in the plural.
    every
        Seconds between two messages.
    """
    begun = last = time.monotonic()
    done = 0
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= every:
            last, rate = now, done / (now - begun)
            LOG.info("%d of %d %s, %.0f per second, %.0f s to go", done, total, what, rate, (total - done) / rate)
    LOG.info("%d of %d %s in %.1f s", done, total, what, time.monotonic() - begun)


def peak_bytes() -> int:
    """Return this process's peak resident memory, including mapped files."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux ru_maxrss begins with that of the parent process.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
