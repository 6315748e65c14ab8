# Patches into stores, a rule a backend and a job a slide; then every store of a slide is checked. Patches into features,
# a rule a model. What they would take,
# before any is written: `snakemake estimate`.

for backend in RUN.backends:

    rule:
        name:
            f"store_patches_{backend}"
        input:
            table=PATCHES,
            sampled=outcome_file("sample_patches"),
        output:
            store=str(store_file(backend, "{slide}")),
            outcome=outcome_file(STORE_STAGES[backend]),
        log:
            log_file(STORE_STAGES[backend]),
        conda:
            "../../environment.yml"
        threads: RUN.resources.threads
        resources:
            mem_mb=RUN.resources.pixel_memory,
            runtime=RUN.resources.pixel_runtime,
        params:
            **RUN.parameters("store_patches", backend),
        script:
            "../../scripts/store_patches.py"


for name in RUN.embedding.names:

    rule:
        name:
            f"embed_patches_{name}"
        input:
            table=PATCHES,
            found=RUN.embedding.found,
        output:
            features=feature_file(name),
            outcome=outcome_file(embed_stage(name)),
        log:
            log_file(embed_stage(name)),
        conda:
            "../../environment.yml"
        threads: RUN.resources.threads
        resources:
            mem_mb=RUN.embedding.memory(name),
            runtime=RUN.embedding.runtime,
            gpu=RUN.embedding.gpus,
        params:
            **RUN.parameters("embed_patches", name),
        script:
            "../../scripts/embed_patches.py"


rule features:
    input:
        RUN.space_file + missing(RUN.embedding.files, RUN.config.results),
        [FEATURES_TABLE] if RUN.embedding.names else [],


# Waits for all slides' sampling, and stores wait for it (runs/store_order.py), so that a run whose stores will not fit
# writes none.
rule check_space:
    input:
        sampled=RUN.every_slide(outcome_file("sample_patches")),
    output:
        space=SPACE,
    log:
        "logs/check_space.log",
    # A second attempt would find the same.
    retries: 0
    # It reads a few patches: not worth a submission to a cluster.
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **RUN.parameters("check_space"),
    script:
        "../../scripts/check_space.py"


rule validate_stores:
    input:
        table=PATCHES,
        # Not the stores: one job makes a store and its outcome, and each further file slows down planning.
        stored=[outcome_file(STORE_STAGES[backend]) for backend in RUN.backends],
    output:
        table=VALIDATION,
        outcome=outcome_file("validate_stores"),
    log:
        log_file("validate_stores"),
    conda:
        "../../environment.yml"
    threads: RUN.resources.threads
    resources:
        mem_mb=RUN.resources.check_memory,
        runtime=RUN.resources.pixel_runtime,
    params:
        **RUN.parameters("validate_stores"),
    script:
        "../../scripts/validate_stores.py"


rule estimate_stores:
    input:
        sampled=RUN.every_slide(outcome_file("sample_patches")),
    output:
        table=ESTIMATE_TABLE,
        seal=ESTIMATE_SEAL,
    log:
        "logs/estimate_stores.log",
    conda:
        "../../environment.yml"
    # All cores, so that no other job disturbs the figures.
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=RUN.resources.cohort_memory,
        runtime=RUN.resources.cohort_runtime,
    params:
        **RUN.parameters("estimate_stores"),
    script:
        "../../scripts/estimate_stores.py"


# Without output, so that the table is printed each time.
rule estimate:
    input:
        table=ESTIMATE_TABLE,
    log:
        "logs/estimate.log",
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **RUN.parameters("print_estimate"),
    script:
        "../../scripts/print_estimate.py"
