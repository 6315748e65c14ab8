"""Draw one slide with its patches by label, and a sample of its patches."""

from slidemill.stages.draw import DrawJob, draw_slide
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        draw_slide(DrawJob.from_job(job))
