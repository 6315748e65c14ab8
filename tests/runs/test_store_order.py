"""Stores wait for the check of the free space."""

from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

from slidemill.runs.store_order import order_stores


@dataclass(frozen=True)
class Rule:
    name: str


@dataclass(frozen=True)
class Job:
    name: str
    rule: Rule


class Plan:
    """What `snakemake.dag.DAG` keeps of its jobs."""

    def __init__(self, rules, groups=()):
        self.jobs = {name: Job(name, Rule(name)) for name in rules}
        self.depending = defaultdict(partial(defaultdict, set))
        self._n_until_ready, self._ready_jobs = defaultdict(int), set(self.jobs.values())
        self._group = {self.jobs[name]: tuple(self.jobs[one] for one in group) for group in groups for name in group}

    def needrun_jobs(self):
        return iter(self.jobs.values())

    def waiting(self):
        return {job.name for job, count in self._n_until_ready.items() if count}


def test_all_stores_wait_for_the_check():
    plan = Plan(["sample_patches", "check_space", "store_patches_lmdb", "store_patches_tar", "draw_slide"])
    order_stores(plan)
    assert plan.waiting() == {"store_patches_lmdb", "store_patches_tar"}
    assert {job.name for job in plan.depending[plan.jobs["check_space"]]} == plan.waiting()
    assert not plan.waiting() & {job.name for job in plan._ready_jobs}


def test_nothing_waits_without_a_check():
    plan = Plan(["sample_patches", "store_patches_lmdb"])
    order_stores(plan)
    assert not plan.waiting()


def test_a_store_in_one_submission_with_its_sampling_cannot_wait():
    plan = Plan(["sample_patches", "check_space", "store_patches_lmdb"], [("sample_patches", "store_patches_lmdb")])
    order_stores(plan)
    assert not plan.waiting()


def test_another_kind_of_plan_stays_as_it_is():
    order_stores(SimpleNamespace(needrun_jobs=lambda: iter([SimpleNamespace(rule=None)])))
    order_stores(None)
