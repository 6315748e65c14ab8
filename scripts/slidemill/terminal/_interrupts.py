"""Find out whether Ctrl-C is being handled."""

from __future__ import annotations

import sys


def is_ending() -> bool:
    """Return whether this thread handles Ctrl-C, or the exit that it led to."""
    error = sys.exc_info()[1]
    while error is not None and not isinstance(error, KeyboardInterrupt | SystemExit):
        error = error.__context__
    return error is not None
