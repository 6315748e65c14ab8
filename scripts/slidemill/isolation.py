"""Calling functions in a process of their own, which damaged files may end.

LMDB and HDF5 read what a file says of itself as it stands there: a flipped byte can end the process that reads it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, ParamSpec, Self, TypeVar

from slidemill.errors import SlidemillError
from slidemill.joblog import LOG

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_CHILD = """
import pickle, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
from slidemill.isolation import serve
serve()
"""


class DiedError(SlidemillError):
    """The process that worked on something ended before it was done; the message says how."""


class Apart:
    """A process of its own, which calls functions one after another; it is started again when it has died.

    Functions, arguments and results are pickled; what a function logs to slidemill's log arrives in this process's.
    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._closed = False

    def call(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Return what `function` returns, or raise what it raises.

        Raises
        ------
        DiedError
            When the process ended first, or was closed.
        """
        if self._closed:
            raise DiedError("closed")
        child = self._child = self._child or _started()
        try:
            _send(_piped(child.stdin), (LOG.level, function, arguments, named))
            while True:
                kind, value = pickle.load(_piped(child.stdout))  # noqa: S301
                if kind == "log":
                    LOG.log(*value)
                else:
                    break
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self._child = None
            raise DiedError(_ending(child)) from None
        if kind == "raised":
            raise value
        result: Result = value
        return result

    def close(self) -> None:
        """End the process; another thread's call ends with it."""
        self._closed = True
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            _ending(child)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def serve() -> None:
    """Call what the parent asks for until it closes the pipe; this is the child's side."""
    # Ctrl-C is sent to both; the parent answers it, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    LOG.addHandler(_Sending(answers))
    with suppress(EOFError):
        while True:
            level, function, arguments, named = pickle.load(sys.stdin.buffer)  # noqa: S301
            LOG.setLevel(level)
            try:
                answer = ("returned", function(*arguments, **named))
            except Exception as error:
                answer = ("raised", error)
            _send(answers, answer)


class _Sending(logging.Handler):
    """Sends what is logged to the parent."""

    def __init__(self, answers: IO[bytes]) -> None:
        super().__init__()
        self._answers = answers

    def emit(self, record: logging.LogRecord) -> None:
        _send(self._answers, ("log", (record.levelno, "%s", record.getMessage())))


def _started() -> subprocess.Popen[bytes]:
    # Libraries that end their process complain on standard error first, of which the finding says the rest.
    command = [sys.executable, "-c", _CHILD]
    child = subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    _send(_piped(child.stdin), sys.path)
    return child


def _send(pipe: IO[bytes], value: object) -> None:
    pipe.write(pickle.dumps(value))
    pipe.flush()


def _piped(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


def _ending(child: subprocess.Popen[bytes]) -> str:
    """Wait for the process to end, and return how it did."""
    for pipe in (child.stdin, child.stdout):
        with suppress(BrokenPipeError):
            _piped(pipe).close()
    code = child.wait()
    return f"signal {-code}" if code < 0 else f"exit code {code}"
