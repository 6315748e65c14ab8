# Which slides are trained on and which are tested on: one job, since all slides are weighed together.

SPLITS = PARAMETERS["splits"]
SPLIT_TABLE = {"splits": "splits.csv"} if SPLITS else {}
SPLIT_FILES = [*SPLIT_TABLE.values(), "splits.seal.json"] if SPLITS else []
TOLD_OF_SPLITS = SPLIT_TABLE | {"columnar": "metadata.parquet"} if SPLITS else {}

if SPLITS:

    rule split_slides:
        input:
            slides="slides.csv",
            metadata="metadata.parquet",
        output:
            table="splits.csv",
            seal="splits.seal.json",
        log:
            "logs/split_slides.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=cohort_memory,
            runtime=cohort_runtime,
        params:
            splits=SPLITS,
            seed=CONFIG.seed,
            code=code("split_slides"),
        script:
            "../../scripts/split_slides.py"
