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
        **DISCOVERED,
        code=code("discover_slides"),
    script:
        "../../scripts/discover_slides.py"
