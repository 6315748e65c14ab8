"""Refuse a second run on the same results, in one sentence and before Snakemake does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slidemill.errors import SlidemillError, explain
from slidemill.runs.run_lock import LOOK_AGAIN, check_unlocked, take


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
