"""Render the report of a run."""

from slidemill.stages.job import Snakemake, script_job
from slidemill.stages.report import ReportJob, render_report

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        render_report(ReportJob.from_job(job))
