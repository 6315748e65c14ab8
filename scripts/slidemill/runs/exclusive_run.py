"""How Snakemake executes a run: never two on the same results, and jobs start as fast as they can."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from slidemill.errors import SlidemillError, explain
from slidemill.runs.run_lock import LOOK_AGAIN, check_unlocked, take

DEFAULT_RATE = (100, 1)
"""What ``--max-jobs-per-timespan`` is where nobody sets it: jobs, seconds."""


def exclusive(
    execute: Callable[..., bool],
    results: Path,
    at_work: str,
    *,
    is_locking: Callable[[], bool],
    prepare: Callable[[], None],
) -> Any:
    """Return Snakemake's `execute` so that it ends with `LOOK_AGAIN` where another run is at work.

    The Snakefile cannot know whether a call runs anything; --summary does not, for example. Snakemake itself would
    refuse to lock the results, and advise to --unlock them. This code is not in a file of rules, since Snakemake would
    name that file for every failure of a run.

    Parameters
    ----------
    execute
        `snakemake.workflow.Workflow.execute` of the run.
    results
        The folder of results.
    at_work
        What a dry run says of the run at work there; empty where none is.
    is_locking
        Returns whether this run takes Snakemake's lock; false with --nolock.
    prepare
        Is called before Snakemake executes anything.
    """

    def executed(*arguments: Any, **settings: Any) -> bool:
        # A later Snakemake that calls this otherwise refuses second runs in its own words.
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
    """Lift the command line's default limit on how many jobs start per second; keep any other limit.

    With a limit, each choice of jobs asks for another one a second later, whatever happens in between. So choices add
    up as jobs finish, and each goes through all jobs that are ready. No limit is the default of Snakemake's own API.

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
