"""Call functions in a child process that a damaged file may crash.

LMDB and HDF5 trust the structure of a file: one flipped byte can kill the process that reads it.
"""

from __future__ import annotations

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from threading import Lock
from typing import ParamSpec, Self, TypeVar

from slidemill.core.job_log import LOG
from slidemill.errors import SlidemillError, machine_error, machine_errors

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_CONTEXT = multiprocessing.get_context("fork") if sys.platform == "linux" else multiprocessing.get_context("spawn")
_STARTING = Lock()
"""Held while a child starts, so that no other child inherits its end of the pipe and keeps it open."""

FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)


class ChildCrashedError(SlidemillError):
    """The child process died during a call; the message is its signal or exit code."""


class ChildKilledError(SlidemillError):
    """The child process was killed from outside; the file it read is not at fault."""


class ChildProcess:
    """A child process that calls functions, and restarts after a crash.

    Log messages of the functions arrive in the parent's log. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._child: tuple[BaseProcess, Connection] | None = None
        self._closed = False

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Call `function` in the child; return its result or raise its error.

        Raises
        ------
        ChildCrashedError
            When the child died by itself, or is closed.
        ChildKilledError
            When it was killed from outside.
        """
        if self._closed:
            raise ChildCrashedError("closed")
        process, pipe = self._child = self._child or _start()
        if self._closed:  # by another thread, which did not know of a child that was starting
            self.close()
            raise ChildCrashedError("closed")
        try:
            pipe.send((LOG.level, function, arguments, named))
            while (answer := pipe.recv())[0] == "log":
                LOG.log(*answer[1])
        except (EOFError, OSError):
            self._child = None
            how = _wait(process)
            if -(process.exitcode or 0) in FROM_OUTSIDE and not self._closed:
                raise ChildKilledError(
                    f"the process that this one had started was ended ({how}), by the system for its memory perhaps: "
                    "run with fewer cores, or give the job more memory"
                ) from None
            raise ChildCrashedError(how) from None
        if answer[0] == "raised":
            raise answer[1]
        result: Result = answer[1]
        return result

    def close(self) -> None:
        """Kill the child; a call in another thread raises ChildCrashedError."""
        self._closed = True
        child, self._child = self._child, None
        if child is not None:
            child[0].kill()
            _wait(child[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _start() -> tuple[BaseProcess, Connection]:
    with _STARTING, machine_errors("another process to read in"):
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(there,), daemon=True)
        process.start()
        there.close()
    return process, here


def _serve(pipe: Connection) -> None:
    """Run the parent's calls in the child process until the parent exits."""
    # Ctrl-C is sent to both; the parent handles it, and kills the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries print before they end their process; the exception says enough.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.disable()
    LOG.handlers[:] = [_PipeHandler(pipe)]
    LOG.propagate = False
    parent = multiprocessing.parent_process()
    assert parent is not None
    with suppress(EOFError, OSError):
        while pipe in wait([pipe, parent.sentinel]):
            level, function, arguments, named = pipe.recv()
            LOG.setLevel(level)
            try:
                answer = ("returned", function(*arguments, **named))
            except Exception as error:
                answer = ("raised", _sendable(error))
            try:
                pipe.send(answer)
            except MemoryError as error:
                pipe.send(("raised", _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """Return the error, or a picklable one that still names a machine fault."""
    if isinstance(error, SlidemillError | OSError):
        return error
    return machine_error(error, "the process that read") or RuntimeError(repr(error))


class _PipeHandler(logging.Handler):
    """Log handler that sends messages to the parent."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send(("log", (record.levelno, "%s", record.getMessage())))


def _wait(process: BaseProcess) -> str:
    """Wait until a process ends; return its signal or exit code."""
    process.join()
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"
