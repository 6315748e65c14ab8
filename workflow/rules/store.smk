# Patches into stores, a rule a backend and a job a slide; then every store is checked.

for backend, settings in BACKENDS.items():

    rule:
        name:
            f"store_patches_{backend}"
        input:
            table="patches/{slide}.csv",
            sampled="outcomes/sample_patches/{slide}.json",
        output:
            store=str(store_file(backend, "{slide}")),
            outcome=f"outcomes/store_patches/{backend}/{{slide}}.json",
        log:
            f"logs/store_patches/{backend}/{{slide}}.log",
        conda:
            "../../environment.yml"
        threads: slide_threads
        resources:
            mem_mb=slide_memory,
            runtime=pixels_runtime,
        params:
            backend=backend,
            settings=settings,
            grid=GRID,
            reader=CONFIG.reader,
            icc=CONFIG.icc,
            checked_copies=checked_copies(settings["encoding"]),
            seed=CONFIG.seed,
            code=code("store_patches", backend),
        script:
            "../../scripts/store_patches.py"


rule validate_stores:
    input:
        table="patches/{slide}.csv",
        # Not the stores: a store and its outcome are one job's, and a file more is dear in a plan of thousands.
        stored=expand("outcomes/store_patches/{backend}/{{slide}}.json", backend=BACKENDS),
    output:
        table="validation/{slide}.csv",
        outcome="outcomes/validate_stores/{slide}.json",
    log:
        "logs/validate_stores/{slide}.log",
    conda:
        "../../environment.yml"
    threads: slide_threads
    resources:
        mem_mb=checking_memory,
        runtime=pixels_runtime,
    params:
        backends=list(BACKENDS),
        grid=GRID,
        validation=asdict(CONFIG.validation),
        icc=CONFIG.icc,
        seed=CONFIG.seed,
        code=code("validate_stores"),
    script:
        "../../scripts/validate_stores.py"
