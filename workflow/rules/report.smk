# The cohort's tables, the benchmark, the report, and the gate that comes last.


rule gather_results:
    input:
        facts=every_slide("slides/{slide}.json"),
        sampled=every_slide("outcomes/sample_patches/{slide}.json"),
        labelled=every_slide("outcomes/write_metadata/{slide}.json"),
        stored=[every_slide(f"outcomes/store_patches/{backend}/{{slide}}.json") for backend in BACKENDS],
        metadata=every_slide("metadata/{slide}.csv"),
        validation=every_slide("validation/{slide}.csv"),
    output:
        slides="slides.csv",
        metadata="metadata.csv",
        validation="validation.csv",
    log:
        "logs/gather_results.log",
    params:
        code=code("gather_results"),
    conda:
        "../../environment.yml"
    script:
        "../../scripts/gather_results.py"


rule benchmark_stores:
    input:
        slides="slides.csv",
        metadata="metadata.csv",
        stored=[every_slide(f"outcomes/store_patches/{backend}/{{slide}}.json") for backend in BACKENDS],
        stores=STORES,
    output:
        table="benchmark.csv",
        plot=report("figures/benchmark.png", caption="../report/benchmark.rst", category="Benchmark"),
    log:
        "logs/benchmark_stores.log",
    params:
        backends=list(BACKENDS),
        grid=GRID,
        benchmark=asdict(CONFIG.benchmark),
        seed=CONFIG.seed,
        code=code("benchmark_stores"),
    # All cores, so that nothing runs beside it and disturbs the figures.
    threads: workflow.cores
    conda:
        "../../environment.yml"
    script:
        "../../scripts/benchmark_stores.py"


rule draw_slide:
    input:
        facts="slides/{slide}.json",
        metadata="metadata/{slide}.csv",
        labelled="outcomes/write_metadata/{slide}.json",
        store=lambda wildcards: store_paths(wildcards)[0],
    output:
        overlay=report("figures/overlay/{slide}.jpg", caption="../report/overlay.rst", category="Slides"),
        montage=report("figures/montage/{slide}.jpg", caption="../report/montage.rst", category="Slides"),
    log:
        "logs/draw_slide/{slide}.log",
    params:
        annotation=lambda wildcards: SLIDES[wildcards.slide].annotation,
        seed=CONFIG.seed,
        code=code("draw_slide"),
    conda:
        "../../environment.yml"
    script:
        "../../scripts/draw_slide.py"


rule render_report:
    input:
        slides="slides.csv",
        metadata="metadata.csv",
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
    params:
        parameters={
            "sampling": GRID,
            "labels": asdict(CONFIG.labels),
            "stores": BACKENDS,
            "validation": asdict(CONFIG.validation),
            "benchmark": asdict(CONFIG.benchmark),
            "seed": CONFIG.seed,
        },
        code=code("render_report"),
    conda:
        "../../environment.yml"
    script:
        "../../scripts/render_report.py"


# Fails where a slide or a check has failed, after all else is written and kept.
rule gate:
    input:
        gate_inputs,
    output:
        touch("passed/{target}"),
    log:
        "logs/gate_{target}.log",
    params:
        code=code("gate"),
    conda:
        "../../environment.yml"
    script:
        "../../scripts/gate.py"
