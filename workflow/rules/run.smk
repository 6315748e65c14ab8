# How a run is executed, begins and ends. One at a time works in a results folder.

from snakemake.script import PythonScript

from slidemill.core.run_warnings import format_warnings
from slidemill.errors import SlidemillError, explain
from slidemill.runs.exclusive_run import exclusive, lift_default_rate
from slidemill.runs.planning import NOTHING_RUN, WRONG_CONFIG, exits, report_no_stores, report_unrecorded
from slidemill.runs.run_lock import hold, look_on, take
from slidemill.runs.run_plan import write_plan
from slidemill.runs.script_start import start_without_snakemake

start_without_snakemake(PythonScript, SCRIPTS)

# A dry run writes nothing.
IS_DRY = workflow.is_main_process and workflow.output_settings.dryrun
if IS_DRY:
    from slidemill.runs.dry_run import mirror_results


workdir: str(mirror_results(RUN.config.results) if IS_DRY else RUN.config.results)


# What a user sees of a run, but not of a cluster's job, which has the output of Snakemake.
SHOWN = None

if workflow.is_main_process:
    from slidemill.runs.level_check import check_levels
    from slidemill.slides.discovery import decode_path
    from slidemill.terminal.quiet_run import QuietRun
    from slidemill.terminal.run_log import Job, RunFacts

    with exits(NOTHING_RUN):
        # Removes the lock of a run that was killed.
        AT_WORK = look_on(RUN.config.results) if IS_DRY else hold(RUN.config.results)

    def prepare():
        lift_default_rate(workflow.scheduling_settings)
        with exits(WRONG_CONFIG):
            check_levels(RUN)
        report_no_stores(RUN, getattr(workflow.dag_settings, "targets", ()))

    # What a user sees of a run; --verbose, --printshellcmds and --quiet choose Snakemake's own output.
    SHOWN = QuietRun(
        getattr(workflow, "execute", None),
        workflow.output_settings,
        workflow.logger_manager,
        run=RunFacts(
            RUN.config.results,
            {slide: str(decode_path(one.path)) for slide, one in RUN.slides.items()},
            planned=lambda: [
                Job(job.rule.name, job.wildcards_dict.get("slide", "")) for job in workflow.dag.needrun_jobs()
            ],
            attempts=lambda rule: 1 + workflow.get_rule(rule).restart_times,
            skip_unreadable=RUN.config.unreadable_patches == "skip",
        ),
    )
    if hasattr(workflow, "execute"):
        workflow.execute = exclusive(
            SHOWN.execute,
            RUN.config.results,
            AT_WORK,
            is_locking=lambda: workflow.execution_settings.lock,
            prepare=prepare,
        )
    # What a run at work is about to record is not lost.
    if not AT_WORK:
        report_unrecorded(RUN)


# Called when a run is about to work.
onstart:
    from slidemill.runs.store_order import order_stores

    try:
        # Done before, unless a later Snakemake does not call `workflow.execute`.
        take(RUN.config.results)
        write_plan(RUN.plan())
        order_stores(workflow.dag)
    except SlidemillError as error:
        sys.exit(f"slidemill: {error}")


# A run that did not finish has tables and a report too, in a folder of their own.
onerror:
    from slidemill.report.versions import this_run
    from slidemill.stages.unfinished import Work, report_unfinished

    unmade = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
    skip = RUN.config.unreadable_patches == "skip"
    shown = this_run(RUN.report_parameters, config["command"], RUN.warnings)
    work = Work(
        RUN.slides, list(RUN.backends), skip, RUN.config.labels.map, shown, RUN.settings(), RUN.embedding.names
    )
    try:
        folder = report_unfinished(unmade, work)
        tables = (RUN.config.results / folder) if folder else RUN.config.results
        if SHOWN and SHOWN.is_shown:
            SHOWN.finish(tables, is_passed=False, labels=list(RUN.config.labels.map))
        else:
            ended = "this run did not finish; its report is" if folder else "what failed is listed above, and in"
            if (tables / REPORT).exists():
                print(f"slidemill: {ended} {tables / REPORT}", file=sys.stderr)
            print("".join(format_warnings(RUN.warnings, tables / SLIDES_TABLE)), end="", file=sys.stderr)
    except (SlidemillError, OSError) as error:
        message = f"slidemill: the report of this unfinished run cannot be written: {explain(error)}"
        SHOWN.say(message) if SHOWN else print(message, file=sys.stderr)


onsuccess:
    from slidemill.core.files import remove

    made = {str(path) for job in workflow.dag.jobs for path in job.output}
    # A part of the work, such as one store, says nothing of the rest.
    if REPORT in made:
        remove(UNFINISHED_FOLDER)
    if SHOWN and SHOWN.is_shown:
        tables = RUN.config.results if SLIDES_TABLE in made else None
        SHOWN.finish(tables, is_passed=True, labels=list(RUN.config.labels.map))
    elif REPORT in made:
        print("".join(format_warnings(RUN.warnings, RUN.config.results / SLIDES_TABLE)), end="", file=sys.stderr)
