# How often Snakemake chooses what runs next.

# What `--max-jobs-per-timespan` is where nobody sets it: jobs, seconds.
DEFAULT_RATE = (100, 1)


def lift_default_rate(scheduler):
    """Lift Snakemake's default limit on how many jobs start per second; keep a limit that the user sets.

    With a limit, each choice of jobs asks for another one a second later, whatever happens in between. So choices add up
    as jobs finish, and each goes through all jobs that are ready.
    """
    limiter = getattr(scheduler, "job_rate_limiter", None)
    rate = (getattr(limiter, "max_jobs", None), getattr(limiter, "timespan", None))
    if rate == DEFAULT_RATE:
        scheduler.job_rate_limiter = None
