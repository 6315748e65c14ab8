"""Prevent two runs on the same results, and lift the default job rate limit."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from slidemill.errors import SlidemillError, explain
from slidemill.runs.run_lock import LOOK_AGAIN, check_unlocked, take

DEFAULT_RATE = (100, 1)
"""Default of ``--max-jobs-per-timespan``: jobs, seconds."""


def exclusive(
    execute: Callable[..., bool],
    results: Path,
    at_work: str,
    *,
    is_locking: Callable[[], bool],
    prepare: Callable[[], None],
) -> Any:
    """Wrap Snakemake's `execute` to exit if another run uses the results.

    The exit code is then `LOOK_AGAIN`.

    The Snakefile cannot know whether a call runs jobs; --summary does not, for example. Snakemake itself would refuse
    to lock the results, and advise to --unlock them. This code is not in a rule file, since Snakemake would name that
    file for every failure of a run.

    Parameters
    ----------
    execute
        `snakemake.workflow.Workflow.execute` of the run.
    results
        The folder of results.
    at_work
        Message of a dry run on the active run there; empty without one.
    is_locking
        Returns whether this run takes Snakemake's lock; false with --nolock.
    prepare
        Called before Snakemake executes anything.
    """

    def executed(*arguments: Any, **settings: Any) -> bool:
        # If a later Snakemake calls this differently, it refuses second runs in its own words.
        plugin = settings.get("executor_plugin")
        try:
            if plugin is not None and plugin.common_settings.dryrun_exec:
                if at_work:
                    print(f"slidemill: {at_work}", file=sys.stderr)
            elif plugin is not None:
                if is_locking():
                    check_unlocked(results)
                take(results)
        except (SlidemillError, OSError) as error:
            print(f"slidemill: {explain(error)}; nothing has been run", file=sys.stderr)
            sys.exit(LOOK_AGAIN if isinstance(error, SlidemillError) else 1)
        prepare()
        return execute(*arguments, **settings)

    return executed


def lift_default_rate(settings: Any) -> None:
    """Remove Snakemake's default limit on job starts per second.

    Any other limit is kept.

    With a limit, each scheduling of jobs triggers another one a second later, and each goes through all jobs that are
    ready. Without a limit, which is the default of Snakemake's API, only finished jobs trigger one.

    Parameters
    ----------
    settings
        `snakemake.settings.types.SchedulingSettings` of the run, or None.
    """
    limit = getattr(settings, "max_jobs_per_timespan", None)
    if (getattr(limit, "max_jobs", None), getattr(limit, "timespan", None)) == DEFAULT_RATE:
        # If a later Snakemake closes its settings to changes, runs are slower, and nothing else.
        with suppress(AttributeError):
            settings.max_jobs_per_timespan = None
