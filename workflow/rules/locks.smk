# One run at a time works in a folder of results.

from slidemill.errors import SlidemillError
from slidemill.holding import LOOK_AGAIN, check_unlocked, hold, take

AT_WORK = ""
if workflow.is_main_process:
    try:
        # A run that was killed leaves its lock behind; a plain run again takes no notice of it.
        AT_WORK = hold(CONFIG.results)
    except OSError as error:
        sys.exit(f"slidemill: nothing has been run:\n{explained(error)}")


# Has a member once `begin` has taken the results.
BEGUN = []


def begin(is_dry):
    """Take the results for this run, or end in one sentence where another run is at work."""
    try:
        if is_dry:
            if AT_WORK:
                print(f"slidemill: {AT_WORK}", file=sys.stderr)
            return
        if workflow.execution_settings.lock:
            check_unlocked(CONFIG.results)
        take(CONFIG.results)
        BEGUN.append(True)
    except (SlidemillError, OSError) as error:
        print(f"slidemill: {explained(error)}; nothing has been run", file=sys.stderr)
        sys.exit(LOOK_AGAIN if isinstance(error, SlidemillError) else 1)


def alone(execute):
    """Snakemake's `execute`, which calls `begin` first.

    The Snakefile cannot tell a run from a call that only looks on, such as --summary, and Snakemake would refuse to lock
    the results with the advice to --unlock them.
    """

    def executed(*arguments, **settings):
        # A later Snakemake that calls this otherwise refuses second runs in its own words, and `onstart` calls `begin`.
        plugin = settings.get("executor_plugin")
        if plugin is not None:
            begin(plugin.common_settings.dryrun_exec)
        lift_default_rate(getattr(workflow, "scheduling_settings", None))
        return execute(*arguments, **settings)

    return executed


if workflow.is_main_process and hasattr(workflow, "execute"):
    workflow.execute = alone(workflow.execute)
