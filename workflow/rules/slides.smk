# What each slide is, which patches it has, and how they are labelled.


rule discover_slides:
    output:
        facts=FACTS,
    log:
        log_file("discover_slides"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=RUN.resources.table_memory,
        runtime=RUN.resources.table_runtime,
    params:
        **RUN.parameters("discover_slides"),
    script:
        "../../scripts/discover_slides.py"


rule sample_patches:
    input:
        facts=FACTS,
    output:
        **RUN.tissue_mask,
        table=PATCHES,
        dropped=DROPPED,
        outcome=outcome_file("sample_patches"),
    log:
        log_file("sample_patches"),
    conda:
        "../../environment.yml"
    threads: RUN.resources.sampling_threads
    resources:
        mem_mb=RUN.resources.table_memory,
        runtime=RUN.resources.sampling_runtime,
    params:
        **RUN.parameters("sample_patches"),
    script:
        "../../scripts/sample_patches.py"


rule write_metadata:
    input:
        table=PATCHES,
        sampled=outcome_file("sample_patches"),
    output:
        table=METADATA,
        outcome=outcome_file("write_metadata"),
    log:
        log_file("write_metadata"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=RUN.resources.table_memory,
        runtime=RUN.resources.table_runtime,
    params:
        **RUN.parameters("write_metadata"),
    script:
        "../../scripts/write_metadata.py"
