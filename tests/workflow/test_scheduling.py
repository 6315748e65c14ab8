"""How Snakemake chooses what runs next: seldom enough for plans of thousands of slides, and slide after slide."""

import re

import pytest

from tests.workflow.conftest import Project

pytestmark = pytest.mark.long

SLIDES, CORES = 4, 2  # two cores are what Project.snakemake runs with
CHOICE, START, END = "Ready jobs: ", re.compile(r"^(?:local)?rule (\w+):$"), re.compile(r"^Finished jobid: (\d+) ")
JOB, SLIDE = re.compile(r"^ +jobid: (\d+)$"), re.compile(r"^ +wildcards: slide=(\S+)$")


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a run over four slides printed, line by line, each of its choices of jobs included."""
    project = Project(tmp_path_factory.mktemp("cohort"))
    for number in range(SLIDES):
        project.add(f"slide{number}.svs", seed=number, annotated=False)
    project.config |= {"annotations": None, "stores": {"lmdb": {}}}
    finished = project.snakemake("--verbose")
    assert finished.code == 0, finished.text
    return finished.text.splitlines()


def events(lines):
    """Yield each start and end of a job: ``(event, rule, slide)``, the slide None where a job has none."""
    jobs, rule, number = {}, None, None
    for line in lines:
        if found := START.match(line):
            rule, number = found[1], None
        elif rule and (found := JOB.match(line)):
            number = found[1]
            jobs[number] = [rule, None]
            yield "start", jobs[number]
        elif rule and number and (found := SLIDE.match(line)):
            jobs[number][1] = found[1]
        elif found := END.match(line):
            yield "end", jobs[found[1]]


def test_scheduler_chooses_once_per_finished_job(said):
    """Choices that come with the clock add up over a long run, and each goes through all jobs that are ready."""
    choices = sum(line.startswith(CHOICE) for line in said)
    finished = sum(END.match(line) is not None for line in said)
    assert finished > 6 * SLIDES
    assert 0 < choices <= finished + 1


def test_stores_wait_for_the_check_of_the_free_space(said):
    """It comes after the sampling of all slides, and before the first store."""
    order = [(event, rule) for event, (rule, _) in [(event, tuple(job)) for event, job in events(said)]]
    sampled = [place for place, one in enumerate(order) if one == ("end", "sample_patches")]
    stored = [place for place, one in enumerate(order) if one == ("start", "store_patches_lmdb")]
    assert len(sampled) == len(stored) == SLIDES
    assert max(sampled) < order.index(("start", "check_space"))
    assert order.index(("end", "check_space")) < min(stored)


def test_scheduler_finishes_begun_slides_first(said):
    """Of the slides being stored, no more are in progress than there are cores."""
    kept = ("store_patches_lmdb", "validate_stores", "draw_slide")
    order = [(event, *job) for event, job in list(events(said)) if job[1] and job[0] in kept]
    end = {slide: place for place, (*_, slide) in enumerate(order)}
    begin = {slide: place for place, (*_, slide) in reversed(list(enumerate(order)))}
    assert len(begin) == SLIDES
    in_progress = [sum(begin[slide] <= place < end[slide] for slide in begin) for place in range(len(order))]
    assert max(in_progress) == CORES


def test_benchmark_runs_with_nothing_beside(said):
    running, beside = [], []
    for event, job in list(events(said)):
        if event == "end":
            running.remove(job)
            continue
        running.append(job)
        if any(rule == "benchmark_stores" for rule, _ in running):
            beside.append([rule for rule, _ in running])
    assert beside == [["benchmark_stores"]]
