"""Embed one slide's patches by one model."""

from slidemill.stages.embed import EmbedJob, embed_patches
from slidemill.stages.job import Snakemake, script_job

snakemake: Snakemake

if __name__ == "__main__":
    with script_job(snakemake) as job:
        embed_patches(EmbedJob.from_job(job))
