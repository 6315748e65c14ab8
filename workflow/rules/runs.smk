# How a run begins and how it ends.

from slidemill.errors import SlidemillError
from slidemill.runs.run_lock import take, unrecorded
from slidemill.core.text import format_count
from slidemill.runs.run_plan import Plan
from slidemill.core.run_warnings import format_warnings

# One file of each job tells of it.
A_JOB_EACH = [
    *("slides/{slide}.json", "outcomes/sample_patches/{slide}.json", "outcomes/write_metadata/{slide}.json"),
    *(f"outcomes/store_patches/{backend}/{{slide}}.json" for backend in BACKENDS),
    *("validation/{slide}.csv", "figures/overlay/{slide}.jpg"),
]
# What else jobs leave of a slide. Where one of these is removed, for damage say, its job runs again.
OF_A_SLIDE = [
    *("slides/{slide}.json", "patches/{slide}.csv", "dropped/{slide}.csv", *TISSUE_MASK.values()),
    *("outcomes/sample_patches/{slide}.json", "outcomes/write_metadata/{slide}.json", "metadata/{slide}.csv"),
    *(f"outcomes/store_patches/{backend}/{{slide}}.json" for backend in BACKENDS),
    *("validation/{slide}.csv", "outcomes/validate_stores/{slide}.json"),
]
DRAWN = ["figures/overlay/{slide}.jpg", "figures/montage/{slide}.jpg"]
if workflow.is_main_process:
    made = [file for pattern in A_JOB_EACH for file in every_slide(pattern)]
    try:
        made += ["slides.csv", "benchmark.csv", *SPLIT_TABLE.values(), "report.html"]
        # What a run at work is about to record is not lost.
        bare = [] if AT_WORK else unrecorded(CONFIG.results, made)
    except OSError as error:
        sys.exit(f"slidemill: nothing has been run:\n{explain(error)}")
    if bare:
        print(
            f"slidemill: {CONFIG.results}: what {format_count(len(bare), 'file')} {'was' if len(bare) == 1 else 'were'} "
            f"made from is not known, {bare[0]} among them: its record is gone, or the disk was full. If the configuration "
            "has changed since, nobody sees it: remove these files (--forceall makes all anew)",
            file=sys.stderr,
        )


# Called when a run is about to work.
onstart:
    try:
        # Done before, unless a later Snakemake passes by what `locks.smk` puts around its `execute`.
        take(CONFIG.results)
        known = {slide: prints(slide) for slide in SLIDES}
        write_plan(Plan(SLIDES, known, tuple(BACKENDS), tuple(WARNINGS), all_settings()))
    except SlidemillError as error:
        sys.exit(f"slidemill: {error}")


# What a run that did not finish tells all the same, in a folder of its own.
onerror:
    from slidemill.stages.unfinished import Work, report_unfinished
    from slidemill.report.versions import this_run

    unmade = {str(path) for job in workflow.dag.needrun_jobs() for path in job.output}
    skip, told = CONFIG.unreadable_patches == "skip", this_run(PARAMETERS, config["command"], WARNINGS)
    work = Work(SLIDES, list(BACKENDS), skip, CONFIG.labels.map, told, all_settings())
    try:
        folder = report_unfinished(unmade, work)
        ended = "this run did not finish; its report is" if folder else "what failed is listed above, and in"
        page = (folder or CONFIG.results) / "report.html"
        if page.exists():
            print(f"slidemill: {ended} {page.resolve()}", file=sys.stderr)
        print(
            "".join(format_warnings(WARNINGS, (folder or CONFIG.results) / "slides.csv")), end="", file=sys.stderr
        )
    except (SlidemillError, OSError) as error:
        print(f"slidemill: the report of this unfinished run cannot be written: {explain(error)}", file=sys.stderr)


onsuccess:
    from slidemill.core.files import remove
    from slidemill.core.results_layout import UNFINISHED_FOLDER

    # A part of the work, such as one store, says nothing of the rest.
    if any("report.html" in job.output for job in workflow.dag.jobs):
        remove(UNFINISHED_FOLDER)
        print("".join(format_warnings(WARNINGS, CONFIG.results / "slides.csv")), end="", file=sys.stderr)
