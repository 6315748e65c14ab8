# Which patches there are, and what they are labelled.


rule sample_patches:
    input:
        facts="slides/{slide}.json",
    output:
        **TISSUE_MASK,
        table="patches/{slide}.csv",
        dropped="dropped/{slide}.csv",
        outcome="outcomes/sample_patches/{slide}.json",
    log:
        "logs/sample_patches/{slide}.log",
    conda:
        "../../environment.yml"
    threads: slide_threads if MEASURED else 1
    resources:
        mem_mb=table_memory,
        runtime=sampling_runtime,
    params:
        **MEASURED,
        **LABELLED,
        grid=GRID,
        max_patches=CONFIG.max_patches,
        tissue=asdict(CONFIG.tissue),
        own_mask=slide_mask if MASKS_GIVEN else None,
        unannotated=slide_unannotated if CONFIG.unannotated in ("skip", "fail") else None,
        code=code("sample_patches"),
    script:
        "../../scripts/sample_patches.py"


rule write_metadata:
    input:
        table="patches/{slide}.csv",
        sampled="outcomes/sample_patches/{slide}.json",
    output:
        table="metadata/{slide}.csv",
        outcome="outcomes/write_metadata/{slide}.json",
    log:
        "logs/write_metadata/{slide}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=table_memory,
        runtime=table_runtime,
    params:
        known=slide_annotation,
        labels=asdict(CONFIG.labels),
        seed=CONFIG.seed,
        code=code("write_metadata"),
    script:
        "../../scripts/write_metadata.py"
