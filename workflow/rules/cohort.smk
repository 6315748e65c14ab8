# All slides together: their tables, folds, the one file in HDF5, and the gate, which comes last.


rule gather_results:
    input:
        labelled=RUN.every_slide(outcome_file("write_metadata")),
        stored=[RUN.every_slide(outcome_file(STORE_STAGES[backend])) for backend in RUN.backends],
        metadata=RUN.every_slide(METADATA),
        # Without stores there is nothing to validate.
        validation=RUN.every_slide(VALIDATION) if RUN.backends else [],
        embedded=RUN.embedding.outcomes,
    output:
        **COHORT_TABLES,
        **RUN.embedding.table,
        seals=COHORT_SEALS,
    log:
        "logs/gather_results.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=RUN.resources.cohort_memory,
        runtime=RUN.resources.cohort_runtime,
    params:
        **RUN.parameters("gather_results"),
    script:
        "../../scripts/gather_results.py"


if RUN.config.splits:

    # One job, since all slides are weighed together.
    rule split_slides:
        input:
            slides=SLIDES_TABLE,
            metadata=METADATA_PARQUET,
        output:
            table=SPLITS_TABLE,
            seal=SPLITS_SEAL,
        log:
            "logs/split_slides.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=RUN.resources.cohort_memory,
            runtime=RUN.resources.cohort_runtime,
        params:
            **RUN.parameters("split_slides"),
        script:
            "../../scripts/split_slides.py"


if "hdf5" in RUN.backends:

    # Stores of slides match this name too, and no slide has it.
    ruleorder: join_hdf5 > store_patches_hdf5

    rule join_hdf5:
        input:
            metadata=METADATA_PARQUET,
            slides=SLIDES_TABLE,
            # In place of the stores: thousands of further files would slow down planning.
            stores=STORES_TABLE,
        output:
            file=str(JOINED),
        log:
            "logs/join_hdf5.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=RUN.resources.cohort_memory,
            runtime=RUN.resources.cohort_runtime,
        params:
            **RUN.parameters("join_hdf5"),
        script:
            "../../scripts/join_hdf5.py"


# Fails where more slides have failed than may, after everything else is written and kept.
rule gate:
    input:
        unpack(RUN.gate_inputs),
    output:
        touch(PASSED),
    log:
        "logs/gate_{target}.log",
    # A second attempt would find the same.
    retries: 0
    # It reads a few tables: not worth a submission to a cluster.
    localrule: True
    conda:
        "../../environment.yml"
    params:
        **RUN.parameters("gate"),
    script:
        "../../scripts/gate.py"
