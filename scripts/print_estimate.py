"""Print the estimate as a table."""

from slidemill.report.estimate_table import print_estimate
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        print_estimate(job.inputs["table"])
