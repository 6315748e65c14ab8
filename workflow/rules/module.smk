# As a module of another workflow, which runs, begins and ends by itself. One run at a time works in the results folder.

from snakemake.script import PythonScript

from slidemill.runs.exclusive_run import exclusive
from slidemill.runs.module_use import record_plan
from slidemill.runs.planning import NOTHING_RUN, exits
from slidemill.runs.run_lock import hold
from slidemill.runs.script_start import start_without_snakemake

start_without_snakemake(PythonScript, SCRIPTS)

if workflow.is_main_process:
    with exits(NOTHING_RUN):
        AT_WORK = hold(RUN.config.results)
    workflow.execute = exclusive(
        record_plan(workflow.execute, RUN),
        RUN.config.results,
        AT_WORK,
        is_locking=lambda: workflow.execution_settings.lock,
        prepare=lambda: None,
    )
