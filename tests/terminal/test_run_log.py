"""What a run prints, from log records made by hand."""

import io
import logging
import threading

import pytest
from snakemake.logging import ColorizingTextHandler

from slidemill.core.csv_tables import write_table
from slidemill.core.outcomes import Outcome, write_outcome
from slidemill.core.results_layout import SLIDES_TABLE, outcome_file
from slidemill.core.run_warnings import add_count
from slidemill.core.stage_facts import StoreFacts, UnreadablePatch
from slidemill.terminal._screen import Screen
from slidemill.terminal.run_log import Job, RunFacts, RunLog

SLIDES = [f"s{number}" for number in range(4)]
JOBS = [Job(rule, slide) for slide in SLIDES for rule in ("sample_patches", "store_patches_lmdb")]
JOBS += [Job("gather_results"), Job("gate")]


class Shown:
    """A handler with its output, and the records that Snakemake sends to it."""

    def __init__(self, results, **facts):
        self.results = results
        self.stream = io.StringIO()
        run = RunFacts(
            results, {slide: f"{slide}.svs" for slide in SLIDES}, planned=lambda: JOBS, attempts=lambda rule: 3, **facts
        )
        self.log = RunLog(Screen(self.stream, {}), run)
        self.now = 0.0

    def send(self, event=None, text="", level=logging.INFO, **fields):
        record = logging.LogRecord("snakemake", level, "scheduler.py", 1, text, (), None)
        record.created = self.now
        record.__dict__ |= fields | ({"event": event} if event else {})
        self.log.handle(record)

    def begin(self):
        self.send("run_info", "Job stats: ...")
        for number, job in enumerate(JOBS):
            wildcards = {"slide": job.slide} if job.slide else None
            self.send("job_info", jobid=number, rule_name=job.rule, wildcards=wildcards)

    def finish(self, job, outcome=None):
        if outcome:
            stage = job.rule.replace("store_patches_", "store_patches/")
            write_outcome(self.results / outcome_file(stage, job.slide), outcome)
        self.now += 1
        self.send("job_finished", job_id=JOBS.index(job))

    def fail(self, job, log="job.log"):
        self.send("job_error", jobid=JOBS.index(job), rule_name=job.rule, log=[log], level=logging.ERROR)

    @property
    def lines(self):
        return self.stream.getvalue().splitlines()


@pytest.fixture
def shown(tmp_path):
    one = Shown(tmp_path)
    one.begin()
    return one


def sampled(slide, status="ok", message="", **more):
    return Outcome(slide, "sample_patches", status, message, path=f"{slide}.svs", **more)


def test_start_says_what_runs(shown, tmp_path):
    assert shown.lines == [f"slidemill: 4 slides, 10 jobs; results in {tmp_path}"]


def test_file_gets_a_line_per_tenth(shown):
    for job in JOBS:
        shown.finish(job)
    percents = [int(line.split()[1]) for line in shown.lines[1:]]
    assert percents == sorted(percents) == list(range(10, 101, 10))
    assert shown.lines[4].startswith("slidemill: 40 %: 4/10 jobs, 2/4 slides, ")
    assert "\x1b" not in shown.stream.getvalue()


def test_slow_run_writes_lines_in_between(tmp_path):
    one = Shown(tmp_path)
    one.begin()
    one.now = 1000.0
    one.finish(JOBS[0])
    assert len(one.lines) == 2


def test_each_warning_is_shown_once(shown):
    for number, slide in enumerate(SLIDES):
        own = sampled(slide, warnings=("pale", add_count("no label", number + 1, "patch")))
        shown.finish(Job("sample_patches", slide), own)
        shown.finish(Job("store_patches_lmdb", slide), own)
    write_table(
        shown.results / SLIDES_TABLE,
        ("slide", "path", "status", "stage", "message", "warnings"),
        [{"slide": slide, "path": f"{slide}.svs", "status": "ok", "warnings": "pale; far"} for slide in SLIDES],
    )
    shown.finish(Job("gather_results"))
    shown.log.finish(has_tables=True)
    said = [line for line in shown.lines if "%" not in line][1:]
    assert said == [
        "slidemill: warning: s0.svs (s0): pale",
        "slidemill: warning: s0.svs (s0): no label: 1 patch",
        "slidemill: warning: s0.svs (s0): far",
        "slidemill: 3 more slides with the same warning (pale): s1.svs, s2.svs, s3.svs",
        "slidemill: 3 more slides with the same warning (no label): s1.svs, s2.svs, s3.svs",
        "slidemill: 3 more slides with the same warning (far): s1.svs, s2.svs, s3.svs",
    ]
    assert shown.log.ended.warnings == 3


def test_failed_slides_with_one_reason_are_joined(shown):
    for slide in SLIDES:
        own = sampled(slide, "failed", f"{slide}.svs: OpenSlide knows no format")
        shown.finish(Job("sample_patches", slide), own)
        shown.finish(Job("store_patches_lmdb", slide), own)
    shown.log.finish(has_tables=False)
    said = [line for line in shown.lines if "%" not in line][1:]
    assert said == [
        "slidemill: failed: s0.svs (s0): sample_patches: s0.svs: OpenSlide knows no format",
        "slidemill: 3 more slides failed with the same reason (sample_patches: *: OpenSlide knows no format): "
        "s1.svs, s2.svs, s3.svs",
    ]
    assert shown.log.ended.failed_slides == set(SLIDES)


@pytest.mark.parametrize("skip", [False, True])
def test_unreadable_patches_fail_a_slide_unless_skipped(tmp_path, skip):
    one = Shown(tmp_path, skip_unreadable=skip)
    one.begin()
    bad = UnreadablePatch(patch_id="r1", column=0, row=0, x0=0, y0=0, width0=1, height0=1, reason="cut")
    facts = StoreFacts(backend="lmdb", patches=11, bytes=5, unreadable=(bad,))
    one.finish(Job("store_patches_lmdb", "s1"), Outcome("s1", "store_patches", path="s1.svs", store=facts))
    said = "slidemill: failed: s1.svs (s1): store_patches: 1 of 12 patches cannot be read; the first: cut"
    assert (said in one.lines) is not skip
    assert one.log.ended.written == 5


def test_failed_job_says_reason_and_log(shown, tmp_path):
    (tmp_path / "job.log").write_text(
        "2026-01-01 00:00:00,000 INFO begun\n2026-01-01 00:00:01,000 ERROR the disk is full: make room and run again\n"
    )
    job, other = JOBS[1], JOBS[3]
    for _ in range(3):
        shown.fail(job)
    for _ in range(3):
        shown.fail(other)
    shown.log.finish(has_tables=False)
    assert shown.lines[1:] == [
        "slidemill: store_patches_lmdb of s0.svs (s0) failed: the disk is full: make room and run again; trying again, "
        "3 times at most",
        f"  log: {tmp_path / 'job.log'}",
        "slidemill: store_patches_lmdb of s0.svs (s0) failed 3 times; the next run tries it again",
        "slidemill: 1 more job failed with the same reason (the disk is full: make room and run again): "
        "store_patches_lmdb of s1.svs (s1)",
    ]
    assert shown.log.ended.failed_jobs == {job, other}


def test_job_that_succeeds_later_has_not_failed(shown):
    shown.fail(JOBS[1])
    shown.finish(JOBS[1])
    assert shown.log.ended.failed_jobs == set()
    assert "its log gives no reason" in shown.lines[1]


def test_gate_repeats_no_slide(shown, tmp_path):
    shown.finish(JOBS[0], sampled("s0", "failed", "s0.svs: is cut"))
    (tmp_path / "gate.log").write_text(
        "2026-01-01 00:00:01,000 ERROR 1 slide failed; everything else is done and kept in /r:\n"
        "  slide  stage  what is wrong\n  s0.svs (s0)  sample_patches  s0.svs: is cut\n"
        "the folds in splits.csv are not to be trusted; all is kept in /r:\n  a, b share a patient\n"
    )
    shown.fail(Job("gate"), "gate.log")
    said = [line for line in shown.lines if "%" not in line][1:]
    assert said == [
        "slidemill: failed: s0.svs (s0): sample_patches: s0.svs: is cut",
        "slidemill: 1 slide failed; everything else is done and kept in /r:",
        "the folds in splits.csv are not to be trusted; all is kept in /r:",
        "  a, b share a patient",
    ]


def test_many_findings_of_a_table_are_cut_short(shown):
    columns = ("slide", "path", "status", "stage", "message", "warnings")
    rows = [
        {"slide": f"a{n}", "path": f"a{n}.svs", "status": "failed", "stage": "x", "message": f"reason {n}!"}
        for n in range(25)
    ]
    write_table(shown.results / SLIDES_TABLE, columns, rows)
    shown.log.finish(has_tables=True)
    assert len(shown.lines) == 12
    assert shown.lines[-1] == f"slidemill: 15 more failures and warnings are in {shown.results / SLIDES_TABLE}"


def test_snakemakes_own_words_are_dropped(shown):
    before = list(shown.lines)
    for text in ("Building DAG of jobs...", "Using shell: /bin/bash", "Provided cores: 2", "Elapsed time: 1"):
        shown.send(text=text)
    shown.send("error", 'RuleException:\nCalledProcessError in file "x"', logging.ERROR)
    shown.send(text="Exiting because a job execution failed. Look below for error messages", level=logging.ERROR)
    shown.send("progress", done=1, total=10)
    shown.send("shellcmd")
    assert shown.lines == before


def test_snakemakes_warnings_and_errors_are_shown(shown):
    shown.send(text="disk quota is low", level=logging.WARNING)
    shown.send("error", "MissingOutputException in rule x", logging.ERROR)
    assert shown.lines[1:] == ["slidemill: disk quota is low", "slidemill: MissingOutputException in rule x"]


def test_slides_that_are_away_are_joined(shown):
    for name in ("a.svs", "b.svs", "c.svs"):
        shown.send(text=f"slidemill: {name}: cannot be read now", level=logging.WARNING, subject=name)
    shown.log.finish(has_tables=False)
    assert shown.lines[1:] == [
        "slidemill: a.svs: cannot be read now",
        "slidemill: 2 more slides with the same warning (*: cannot be read now): b.svs, c.svs",
    ]


def test_interrupt_is_one_line(shown, tmp_path):
    try:
        shown.log.interrupt()
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        shown.send(text="Terminating processes on user request, this might take some time.")
    shown.fail(JOBS[0])
    shown.finish(JOBS[2])
    shown.log.finish(has_tables=False)
    assert shown.lines[1:] == [
        f"slidemill: interrupted: finished files are kept in {tmp_path}; run the same command to go on"
    ]


class Interrupted(io.StringIO):
    """A stream in whose midst Ctrl-C comes."""

    def __init__(self, log):
        super().__init__()
        self.log = log

    def write(self, text):
        if not self.log.ended.is_interrupted:
            self.log.interrupt()
            raise KeyboardInterrupt
        return super().write(text)


def test_interrupt_that_snakemake_ignores_ends_the_run_once(shown):
    """Its handlers of logs ignore Ctrl-C, and would let the run go on."""
    logger = logging.Logger("snakemake")
    logger.addHandler(ColorizingTextHandler(nocolor=True, stream=Interrupted(shown.log)))
    logger.addHandler(shown.log)
    with pytest.raises(KeyboardInterrupt):
        logger.info("a message")
    logger.info("Shutting down")


def test_interrupt_is_left_to_the_main_thread(shown):
    shown.log.interrupt()
    other = threading.Thread(target=shown.send, kwargs={"text": "of a job"})
    other.start()
    other.join()
    with pytest.raises(KeyboardInterrupt):
        shown.send(text="of the run")


def test_nothing_to_do_is_remembered(shown):
    shown.send(text="Nothing to be done (all requested files are present and up to date).")
    assert shown.log.ended.is_idle


def test_group_failure_names_the_jobs_with_errors(shown, tmp_path):
    (tmp_path / "bad.log").write_text("2026-01-01 00:00:01,000 ERROR the disk is full\n")
    infos = [
        {"rule_name": "sample_patches", "jobid": 0, "log": ["none.log"]},
        {"rule_name": "store_patches_lmdb", "jobid": 1, "log": ["bad.log"]},
    ]
    shown.send("group_error", level=logging.ERROR, job_error_info=infos, aux_logs=["slurm.log"])
    for info in infos:
        shown.send("job_error", level=logging.ERROR, indent=True, **info)
    assert [line for line in shown.lines if "failed" in line] == [
        "slidemill: store_patches_lmdb of s0.svs (s0) failed: the disk is full; trying again, 3 times at most"
    ]
    shown.send("group_error", level=logging.ERROR, job_error_info=infos[:1], aux_logs=["slurm.log"])
    assert shown.lines[-2:] == [
        "slidemill: a group of jobs failed (sample_patches), and their logs give no reason",
        "  log: slurm.log",
    ]
