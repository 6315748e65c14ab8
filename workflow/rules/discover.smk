# What OpenSlide says of each slide.


rule discover_slides:
    output:
        facts="slides/{slide}.json",
    log:
        "logs/discover_slides/{slide}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=table_memory,
        runtime=table_runtime,
    params:
        file=slide_file,
        assume_mpp=CONFIG.assume_mpp,
        limit_bounds=CONFIG.sampling.limit_bounds,
        code=code("discover_slides"),
    script:
        "../../scripts/discover_slides.py"
