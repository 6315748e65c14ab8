# Pictures of each slide.


rule draw_slide:
    input:
        **TISSUE_MASK,
        metadata="metadata/{slide}.csv",
        labelled="outcomes/write_metadata/{slide}.json",
        dropped="dropped/{slide}.csv",
        store=str(store_file(next(iter(BACKENDS)), "{slide}")),
    output:
        overlay=report("figures/overlay/{slide}.jpg", caption="../report/overlay.rst", category="Slides"),
        montage=report("figures/montage/{slide}.jpg", caption="../report/montage.rst", category="Slides"),
    log:
        "logs/draw_slide/{slide}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=slide_memory,
        runtime=pixels_runtime,
    params:
        annotation=lambda wildcards: SLIDES[wildcards.slide].annotation,
        seed=CONFIG.seed,
        icc=CONFIG.icc,
        labels=asdict(CONFIG.labels),
        code=code("draw_slide"),
    script:
        "../../scripts/draw_slide.py"
