"""What a run prints: progress, warnings and failures as they happen, and a summary.

The main process of a run loads it, and no job. It reads log records of Snakemake without importing Snakemake.
"""
