"""Record what OpenSlide reports about one slide."""

from slidemill.stages.discover import DiscoverJob, discover_slide
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        discover_slide(DiscoverJob.from_job(job))
