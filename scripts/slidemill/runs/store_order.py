"""Let no store be written before the check of the free space.

Stores do not name the check's output as an input: Snakemake would write all stores again when the check runs again, or,
with ``ancient``, would overlook stores that are missing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from slidemill.core.results_layout import SPACE, STORE_STAGES

CHECK, SAMPLING = "check_space", "sample_patches"
STORING = frozenset(f"store_patches_{backend}" for backend in STORE_STAGES)


def order_stores(dag: Any) -> None:
    """Let all jobs that write stores wait for the check, if it is planned.

    Jobs that a cluster gets together with the sampling that the check waits for cannot wait.

    Parameters
    ----------
    dag
        `snakemake.dag.DAG` of the run, whose jobs have not started.
    """
    # If a later Snakemake keeps its plan differently, the check runs, but stores do not wait for it.
    with suppress(AttributeError, TypeError):
        planned = list(dag.needrun_jobs())
        check = next((job for job in planned if job.rule.name == CHECK), None)
        for job in planned if check else ():
            together = dag._group.get(job) or ()
            if job.rule.name in STORING and not any(other.rule.name == SAMPLING for other in together):
                dag.depending[check][job].add(SPACE)
                dag._n_until_ready[job] += 1
                dag._ready_jobs.discard(dag._group.get(job, job))
