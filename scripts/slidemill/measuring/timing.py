"""The time that is left for measuring, and the time that work takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """When measuring ends.

    Parameters
    ----------
    at
        The time by `clock`, in seconds.
    clock
        Returns the present time in seconds.
    """

    at: float = math.inf
    clock: Callable[[], float] = time.perf_counter

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.perf_counter) -> Deadline:
        """Return the deadline in so many seconds from now."""
        return cls(clock() + seconds, clock)

    @property
    def left(self) -> float:
        """Seconds until the deadline; negative after it."""
        return self.at - self.clock()

    def share(self, part: float) -> Deadline:
        """Return the deadline after this share of the time that is left."""
        return Deadline.after(part * max(self.left, 0), self.clock)

    def before(self, seconds: float) -> Deadline:
        """Return the deadline so many seconds earlier."""
        return Deadline(self.at - seconds, self.clock)


@dataclass(slots=True)
class Clock:
    """Seconds that parts of the work took, and how much work that was.

    Parameters
    ----------
    seconds, work
        Seconds, and the number of patches or slides.
    """

    seconds: float = 0.0
    work: float = 0.0

    def add(self, begun: float, work: float) -> None:
        """Add the seconds since a time of `time.perf_counter`, and the work that was done."""
        self.seconds += time.perf_counter() - begun
        self.work += work

    @property
    def each(self) -> float:
        """Seconds per patch or slide; 0 if nothing was timed."""
        return self.seconds / self.work if self.work else 0.0
