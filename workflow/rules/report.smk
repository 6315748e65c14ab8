# Pictures of each slide, the benchmark of the stores, and the report.


rule draw_slide:
    input:
        **RUN.tissue_mask,
        **RUN.pictured_store,
        metadata=METADATA,
        labelled=outcome_file("write_metadata"),
        dropped=DROPPED,
    output:
        overlay=report(OVERLAY, caption="../report/overlay.rst", category="Slides"),
        montage=report(MONTAGE, caption="../report/montage.rst", category="Slides"),
    log:
        log_file("draw_slide"),
    conda:
        "../../environment.yml"
    resources:
        mem_mb=RUN.resources.pixel_memory,
        runtime=RUN.resources.pixel_runtime,
    params:
        **RUN.parameters("draw_slide"),
    script:
        "../../scripts/draw_slide.py"


# Its inputs are the table of stores, not the stores: Snakemake would read small ones whole each time to compare them.
rule benchmark_stores:
    input:
        slides=SLIDES_TABLE,
        stores=STORES_TABLE,
    output:
        table=BENCHMARK_TABLE,
        candidates=CANDIDATES_TABLE,
        plot=report(BENCHMARK_PLOT, caption="../report/benchmark.rst", category="Benchmark"),
    log:
        "logs/benchmark_stores.log",
    conda:
        "../../environment.yml"
    # All cores, so that no other job disturbs the figures.
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=RUN.resources.cohort_memory,
        runtime=RUN.resources.cohort_runtime,
    params:
        **RUN.parameters("benchmark_stores"),
    script:
        "../../scripts/benchmark_stores.py"


rule render_report:
    input:
        **RUN.shown_splits,
        **RUN.benchmark_files,
        **RUN.embedding.table,
        slides=SLIDES_TABLE,
        stores=STORES_TABLE,
        metadata=METADATA_TABLE,
        unreadable=UNREADABLE_TABLE,
        validation=VALIDATION_TABLE,
        labelled=RUN.every_slide(outcome_file("write_metadata")),
        overlays=RUN.every_slide(OVERLAY),
        montages=RUN.every_slide(MONTAGE),
    output:
        page=report(REPORT, caption="../report/report.rst", category="Report"),
    log:
        "logs/render_report.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=RUN.resources.cohort_memory,
        runtime=RUN.resources.cohort_runtime,
    params:
        **RUN.parameters("render_report"),
    script:
        "../../scripts/render_report.py"
