"""Progress of a run: counts of jobs, slides and patches, and the remaining time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from slidemill.core.text import format_duration

BLOCKS = ("\N{BOX DRAWINGS HEAVY HORIZONTAL}", "\N{BOX DRAWINGS LIGHT HORIZONTAL}")
PLAIN = ("#", "-")
"""What a bar is drawn of, full and empty; the first pair needs a terminal with UTF-8."""
LONGEST_BAR, SHORTEST_BAR = 24, 8


@dataclass(frozen=True, slots=True)
class Job:
    """A job: its rule, and its slide, which is empty for jobs of all slides."""

    rule: str
    slide: str = ""


@dataclass(slots=True)
class Ended:
    """The state of a run at its end.

    Parameters
    ----------
    failed_slides, failed_jobs
        The slides that failed, and the jobs that failed in each attempt.
    warnings
        The number of different warnings.
    written
        Bytes that this run stored.
    is_idle, is_interrupted
        Whether there was nothing to do, and whether the user stopped the run.
    """

    failed_slides: set[str] = field(default_factory=set)
    failed_jobs: set[Job] = field(default_factory=set)
    warnings: int = 0
    written: int = 0
    is_idle: bool = False
    is_interrupted: bool = False


class Progress:
    """Counts of what is done; a job that is tried again counts once.

    Parameters
    ----------
    jobs
        The planned jobs.
    begun
        When the run began, in seconds, as all times here.
    """

    def __init__(self, jobs: Iterable[Job], begun: float) -> None:
        planned = list(jobs)
        self._waiting = Counter(job.rule for job in planned)
        self._of_slides = Counter(job.slide for job in planned if job.slide)
        self._begun = begun
        self._starts: dict[Job, float] = {}
        self._finished: set[Job] = set()
        self._durations: dict[str, list[float]] = {}
        self._storing: tuple[float, float] | None = None
        self.total = len(planned)
        self.slides = len(self._of_slides)
        self.slides_done = 0
        self.patches = 0

    @property
    def done(self) -> int:
        """The number of finished jobs."""
        return len(self._finished)

    @property
    def fraction(self) -> float:
        """The share of finished jobs, 0 to 1."""
        return self.done / self.total if self.total else 1.0

    def start(self, job: Job, now: float) -> None:
        """Record that a job has started."""
        self._starts[job] = now

    def finish(self, job: Job, now: float, patches: int = 0) -> None:
        """Record that a job is done, and how many patches it stored."""
        if job in self._finished:
            return
        self._finished.add(job)
        self.total = max(self.total, self.done)
        start = self._starts.get(job, self._begun)
        self._durations.setdefault(job.rule, []).append(max(now - start, 0.0))
        self._waiting[job.rule] = max(self._waiting[job.rule] - 1, 0)
        if job.slide in self._of_slides:
            self._of_slides[job.slide] -= 1
            self.slides_done += self._of_slides[job.slide] == 0
        if patches:
            self.patches += patches
            first = min(start, self._storing[0]) if self._storing else start
            self._storing = (first, now)

    @property
    def rate(self) -> float | None:
        """Patches per second from the first to the last job that stored some; None before."""
        if self._storing is None or self._storing[1] <= self._storing[0]:
            return None
        return self.patches / (self._storing[1] - self._storing[0])

    def remaining(self, now: float) -> float | None:
        """Return the estimated seconds to the end, or None if nothing is known.

        A job takes as long as the finished ones of its rule, and jobs run side by side as they did so far.
        """
        finished = sum(map(sum, self._durations.values()))
        if not finished or now <= self._begun:
            return None
        usual = finished / self.done
        means = {rule: sum(own) / len(own) for rule, own in self._durations.items()}
        work = sum(count * means.get(rule, usual) for rule, count in self._waiting.items())
        running = {job: now - start for job, start in self._starts.items() if job not in self._finished}
        # The part of the work that running jobs have done.
        begun = sum(min(spent, means.get(job.rule, usual)) for job, spent in running.items())
        return max(work - begun, 0.0) * (now - self._begun) / (finished + sum(running.values()))

    def describe(self, now: float) -> list[str]:
        """Return the counts in words, the most important first."""
        parts = [f"{self.done:,}/{self.total:,} jobs"]
        if self.slides:
            parts.append(f"{self.slides_done:,}/{self.slides:,} slides")
        remaining = self.remaining(now)
        if remaining is not None and self.done < self.total:
            parts.append(f"{format_duration(remaining)} left")
        if self.rate is not None:
            parts.append(f"{self.rate:,.0f} patches/s")
        return parts

    def bar(self, now: float, width: int, *, has_blocks: bool, failed: int) -> str:
        """Return one line with a bar, of at most `width` characters.

        What does not fit is left out, beginning with the last count.
        """
        parts = [f"{int(self.fraction * 100):3d} %", *self.describe(now)]
        if failed:
            parts.insert(1, f"{failed:,} failed")
        while len(parts) > 1 and len("  ".join(parts)) + SHORTEST_BAR + 1 > width:
            parts.pop()
        text = "  ".join(parts)
        length = min(max(width - len(text) - 1, 0), LONGEST_BAR)
        full, empty = BLOCKS if has_blocks else PLAIN
        filled = int(self.fraction * length)
        return f"{full * filled}{empty * (length - filled)} {text}"[:width]
