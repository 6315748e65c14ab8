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


def alone(execute):
    """Snakemake's `execute`, which ends in one sentence where another run is at work.

    The Snakefile cannot tell a run from a call that only looks on, such as --summary, and Snakemake would refuse to lock
    the results with the advice to --unlock them.
    """

    def executed(executor_plugin, **settings):
        try:
            if executor_plugin.common_settings.dryrun_exec:
                if AT_WORK:
                    print(f"slidemill: {AT_WORK}", file=sys.stderr)
            else:
                if workflow.execution_settings.lock:
                    check_unlocked(CONFIG.results)
                take(CONFIG.results)
        except (SlidemillError, OSError) as error:
            print(f"slidemill: {explained(error)}; nothing has been run", file=sys.stderr)
            sys.exit(LOOK_AGAIN if isinstance(error, SlidemillError) else 1)
        return execute(executor_plugin=executor_plugin, **settings)

    return executed


if workflow.is_main_process:
    workflow.execute = alone(workflow.execute)
