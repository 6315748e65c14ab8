"""Write messages to a stream, above one status line where it is a terminal."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import TextIO

COLOURS = {"red": "31", "yellow": "33", "green": "32"}
DEFAULT_WIDTH = 80
ERASE_LINE = "\r\x1b[K"


class Screen:
    """A stream with messages, and at most one status line below them.

    A stream that is not a terminal, or a dumb one, gets no status line and no control characters. Write errors are
    ignored: a terminal that is closed does not end a run.

    Parameters
    ----------
    stream
        The stream.
    environment
        Environment variables: ``NO_COLOR``, ``TERM`` and ``COLUMNS`` count.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._environment = environment
        self._status = ""
        self.is_live = stream.isatty() and environment.get("TERM") != "dumb"
        self._has_colour = self.is_live and not environment.get("NO_COLOR")

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        given = self._environment.get("COLUMNS", "")
        if given.isdecimal() and int(given):
            return int(given)
        with suppress(OSError, ValueError):
            return os.get_terminal_size(self._stream.fileno()).columns or DEFAULT_WIDTH
        return DEFAULT_WIDTH

    @property
    def has_blocks(self) -> bool:
        """Whether the stream can show the characters of `slidemill.terminal._progress.BLOCKS`."""
        return "utf" in (self._stream.encoding or "").lower()

    def say(self, text: str, colour: str = "") -> None:
        """Write lines above the status line."""
        if colour and self._has_colour:
            first, *others = text.split("\n", 1)
            text = "\n".join([f"\x1b[{COLOURS[colour]}m{first}\x1b[0m", *others])
        self._write(f"{self._erase()}{text}\n{self._status}")

    def show(self, status: str) -> None:
        """Replace the status line; without a terminal, do nothing."""
        if self.is_live:
            erase, self._status = self._erase(), status[: max(self.width - 1, 0)]
            self._write(erase + self._status)

    def clear(self) -> None:
        """Remove the status line."""
        self._write(self._erase())
        self._status = ""

    def _erase(self) -> str:
        return ERASE_LINE if self._status else ""

    def _write(self, text: str) -> None:
        # Ctrl-C may interrupt a write of this stream, which then refuses another.
        with suppress(OSError, ValueError, RuntimeError):
            self._stream.write(text)
            self._stream.flush()
