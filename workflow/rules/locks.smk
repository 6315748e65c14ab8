# One run at a time works in a folder of results.

from slidemill.exclusive import exclusive
from slidemill.holding import hold

AT_WORK = ""
if workflow.is_main_process:
    try:
        # A run that was killed leaves its lock behind; a plain run again takes no notice of it.
        AT_WORK = hold(CONFIG.results)
    except OSError as error:
        sys.exit(f"slidemill: nothing has been run:\n{explained(error)}")
    workflow.execute = exclusive(workflow.execute, CONFIG.results, AT_WORK, lambda: workflow.execution_settings.lock)
