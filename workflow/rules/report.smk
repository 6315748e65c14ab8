# The benchmark and the report.


# The stores are no inputs, but the table of them: Snakemake would read small ones whole, each time, to compare them.
rule benchmark_stores:
    input:
        slides="slides.csv",
        stores="stores.csv",
    output:
        table="benchmark.csv",
        plot=report("figures/benchmark.png", caption="../report/benchmark.rst", category="Benchmark"),
    log:
        "logs/benchmark_stores.log",
    conda:
        "../../environment.yml"
    # All cores, so that nothing runs beside it and disturbs the figures.
    threads: workflow.resource_settings.cores or 1
    resources:
        mem_mb=cohort_memory,
        runtime=cohort_runtime,
    params:
        stores=BACKENDS,
        grid=GRID,
        benchmark=asdict(CONFIG.benchmark),
        seed=CONFIG.seed,
        icc=CONFIG.icc,
        code=code("benchmark_stores"),
    script:
        "../../scripts/benchmark_stores.py"


rule render_report:
    input:
        **TOLD_OF_SPLITS,
        slides="slides.csv",
        metadata="metadata.csv",
        unreadable="unreadable.csv",
        validation="validation.csv",
        benchmark="benchmark.csv",
        plot="figures/benchmark.png",
        labelled=every_slide("outcomes/write_metadata/{slide}.json"),
        overlays=every_slide("figures/overlay/{slide}.jpg"),
        montages=every_slide("figures/montage/{slide}.jpg"),
    output:
        page=report("report.html", caption="../report/report.rst", category="Report"),
    log:
        "logs/render_report.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=cohort_memory,
        runtime=cohort_runtime,
    params:
        parameters=PARAMETERS,
        warnings=WARNINGS,
        code=code("render_report"),
        templates=[
            fingerprint(SCRIPTS / "slidemill" / "report" / "templates" / f"report.{kind}")
            for kind in ("html", "css", "js")
        ],
    script:
        "../../scripts/render_report.py"
