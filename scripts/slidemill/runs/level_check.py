"""Refuse a run if no slide has the requested level, before any job."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from threading import Timer

from slidemill.core.child_process import ChildProcess
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import outcome_file
from slidemill.core.specs import GridSpec
from slidemill.core.text import format_count
from slidemill.errors import ConfigError, SlidemillError
from slidemill.runs.workflow import Workflow
from slidemill.slides.discovery import decode_path

TIME_LIMIT = 2.0
"""Seconds after which the check ends without a result; slides that lack the level then fail one by one."""

MOST_READ = 10
"""Outcomes of an earlier run that are read."""

KEYS = ("level", "deepzoom_level", "mpp", "magnification")


def check_levels(run: Workflow) -> None:
    """Check that at least one slide can be sampled as configured.

    Headers are read in a child process, so that this one loads no OpenSlide, and a drive that hangs holds up nothing.

    Raises
    ------
    ConfigError
        When none can.
    """
    grid = run.config.sampling
    if _is_sampled(run):
        return
    slides = [(run.config.root / decode_path(slide.path), slide.mpp) for slide in run.slides.values()]
    if not (refusals := _refusals(slides, grid, run.config.assume_mpp)):
        return
    key = next(key for key in KEYS if getattr(grid, key) is not None)
    none = f"none of {format_count(len(slides), 'slide')} has" if len(slides) > 1 else "the slide does not have"
    lines = [f"sampling.{key} is {getattr(grid, key):g}, which {none}:", *(f"  {line}" for line in refusals)]
    if len(refusals) < len(slides):
        lines.append("  ...")
    raise ConfigError("\n".join([*lines, "run `slidemill inspect SLIDE` for the levels of a slide"]))


def _is_sampled(run: Workflow) -> bool:
    """Return whether one of the first slides was sampled on this grid before."""
    for slide in islice(run.slides, MOST_READ):
        path = run.config.results / outcome_file("sample_patches", slide)
        try:
            outcome = read_outcome(path) if path.exists() else None
        except (SlidemillError, OSError):
            continue
        if outcome and outcome.sample and outcome.sample.sampling == run.config.sampling:
            return True
    return False


def _refusals(slides: list[tuple[Path, float | None]], grid: GridSpec, assume_mpp: float | None) -> list[str]:
    """Return why the first slides cannot be sampled; nothing if some can, or if it is not known in time."""
    with ChildProcess() as child:
        timer = Timer(TIME_LIMIT, child.close)
        timer.start()
        try:
            return child.call(_read_refusals, slides, grid, assume_mpp)
        except Exception:
            return []  # jobs read these slides too, and report what is wrong
        finally:
            timer.cancel()


def _read_refusals(slides: list[tuple[Path, float | None]], grid: GridSpec, assume_mpp: float | None) -> list[str]:
    from slidemill.sampling.level_check import find_refusals  # loads OpenSlide

    return find_refusals(slides, grid, assume_mpp)
