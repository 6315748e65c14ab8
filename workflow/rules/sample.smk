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
        **SAMPLED,
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
        **NAMED,
        code=code("write_metadata"),
    script:
        "../../scripts/write_metadata.py"
