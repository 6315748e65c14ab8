# How often Snakemake chooses what runs next.

from contextlib import suppress

# What `--max-jobs-per-timespan` is where nobody sets it: jobs, seconds.
DEFAULT_RATE = (100, 1)


def lift_default_rate(settings):
    """Lift the command line's default limit on how many jobs start per second; keep another that the user sets.

    With a limit, each choice of jobs asks for another one a second later, whatever happens in between. So choices add up
    as jobs finish, and each goes through all jobs that are ready. Without one is the default of Snakemake's own API.
    """
    limit = getattr(settings, "max_jobs_per_timespan", None)
    if (getattr(limit, "max_jobs", None), getattr(limit, "timespan", None)) == DEFAULT_RATE:
        # Settings that a later Snakemake closes to changes cost time, and nothing else.
        with suppress(AttributeError):
            settings.max_jobs_per_timespan = None
