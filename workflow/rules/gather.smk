# The cohort's tables, and the gate that comes last.


rule gather_results:
    input:
        labelled=every_slide("outcomes/write_metadata/{slide}.json"),
        stored=[every_slide(f"outcomes/store_patches/{backend}/{{slide}}.json") for backend in BACKENDS],
        metadata=every_slide("metadata/{slide}.csv"),
        validation=every_slide("validation/{slide}.csv"),
    output:
        slides="slides.csv",
        metadata="metadata.csv",
        columnar="metadata.parquet",
        stores="stores.csv",
        unreadable="unreadable.csv",
        validation="validation.csv",
        seals="tables.seal.json",
    log:
        "logs/gather_results.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=cohort_memory,
        runtime=cohort_runtime,
    params:
        unreadable_patches=CONFIG.unreadable_patches,
        code=code("gather_results"),
    script:
        "../../scripts/gather_results.py"


if "hdf5" in BACKENDS:

    # Slides' own stores are named alike, and no slide is called so.
    ruleorder: join_hdf5 > store_patches_hdf5

    rule join_hdf5:
        input:
            metadata="metadata.parquet",
            slides="slides.csv",
            # Tells of the stores: thousands of files more would cost the plan its time.
            stores="stores.csv",
        output:
            file=str(JOINED),
        log:
            "logs/join_hdf5.log",
        conda:
            "../../environment.yml"
        resources:
            mem_mb=cohort_memory,
            runtime=cohort_runtime,
        params:
            code=code("join_hdf5"),
        script:
            "../../scripts/join_hdf5.py"


# Fails where more slides have failed than may, after all else is written and kept.
rule gate:
    input:
        unpack(gate_inputs),
    output:
        touch("passed/{target}"),
    log:
        "logs/gate_{target}.log",
    # What it finds is the same however often it looks.
    retries: 0
    # It reads a few tables: not worth a submission to a cluster.
    localrule: True
    conda:
        "../../environment.yml"
    params:
        max_failed=CONFIG.max_failed,
        splits=SPLITS,
        unmapped=CONFIG.unmapped,
        code=code("gate"),
    script:
        "../../scripts/gate.py"
