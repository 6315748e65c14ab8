"""Calling functions in a process of their own, which damaged files may end.

LMDB and HDF5 read what a file says of itself as it stands there: a flipped byte can end the process that reads it.
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
"""Held while a process starts, so that no other inherits its end of the pipe and keeps it open after its death."""


class ChildCrashedError(SlidemillError):
    """The process that worked on something ended before it was done; the message says how."""


class ChildKilledError(SlidemillError):
    """The process was ended from outside, for its memory perhaps: that says nothing of what it worked on."""


FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP)


class ChildProcess:
    """A process of its own, which calls functions one after another; it is started again when it has died.

    What a function logs to slidemill's log arrives in this process's. Use it as a context manager.
    """

    def __init__(self) -> None:
        self._child: tuple[BaseProcess, Connection] | None = None
        self._closed = False

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Return what `function` returns, or raise what it raises.

        Raises
        ------
        ChildCrashedError
            When the process ended first, or was closed.
        ChildKilledError
            When it was ended from outside.
        """
        if self._closed:
            raise ChildCrashedError("closed")
        process, pipe = self._child = self._child or _started()
        try:
            pipe.send((LOG.level, function, arguments, named))
            while True:
                kind, value = pipe.recv()
                if kind == "log":
                    LOG.log(*value)
                else:
                    break
        except (EOFError, OSError):
            self._child = None
            how = _ending(process)
            if -(process.exitcode or 0) in FROM_OUTSIDE and not self._closed:
                raise ChildKilledError(
                    f"the process that this one had started was ended ({how}), by the system for its memory perhaps: "
                    "run with fewer cores, or give the job more memory"
                ) from None
            raise ChildCrashedError(how) from None
        if kind == "raised":
            raise value
        result: Result = value
        return result

    def close(self) -> None:
        """End the process; another thread's call ends with it."""
        self._closed = True
        child, self._child = self._child, None
        if child is not None:
            child[0].kill()
            _ending(child[0])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _started() -> tuple[BaseProcess, Connection]:
    with _STARTING, machine_errors("another process to read in"):
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_serve, args=(there,), daemon=True)
        process.start()
        there.close()
    return process, here


def _serve(pipe: Connection) -> None:
    """Call what the parent asks for until it is gone; this is the child's side."""
    # Ctrl-C is sent to both; the parent answers it, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Libraries that end their process complain first, of which the finding says the rest.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    faulthandler.disable()
    LOG.handlers[:] = [_Sending(pipe)]
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
    """Return an error that the parent can be sent: another would end this process, and be taken for damage."""
    if isinstance(error, SlidemillError | OSError):
        return error
    return machine_error(error, "the process that read") or RuntimeError(repr(error))


class _Sending(logging.Handler):
    """Sends what is logged to the parent."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send(("log", (record.levelno, "%s", record.getMessage())))


def _ending(process: BaseProcess) -> str:
    """Wait for the process to end, and return how it did."""
    process.join()
    code = process.exitcode or 0
    return f"signal {-code}" if code < 0 else f"exit code {code}"
