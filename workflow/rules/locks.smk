# How Snakemake executes a run: one at a time works in a folder of results, and jobs start as fast as they can.

from slidemill.runs.exclusive_run import exclusive
from slidemill.runs.run_lock import hold
from slidemill.runs.scheduling import lift_default_rate

AT_WORK = ""
if workflow.is_main_process:
    try:
        # A run that was killed leaves its lock behind; a plain run again takes no notice of it.
        AT_WORK = hold(CONFIG.results)
    except OSError as error:
        sys.exit(f"slidemill: nothing has been run:\n{explain(error)}")

if workflow.is_main_process and hasattr(workflow, "execute"):
    workflow.execute = exclusive(
        workflow.execute,
        CONFIG.results,
        AT_WORK,
        is_locking=lambda: workflow.execution_settings.lock,
        prepare=lambda: lift_default_rate(workflow.scheduling_settings),
    )
