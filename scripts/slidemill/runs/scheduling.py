"""How often Snakemake chooses what runs next."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

DEFAULT_RATE = (100, 1)
"""What ``--max-jobs-per-timespan`` is where nobody sets it: jobs, seconds."""


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
