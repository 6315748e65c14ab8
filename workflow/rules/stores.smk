# Patches into stores, a rule a backend and a job a slide; then every store of a slide is checked.

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
