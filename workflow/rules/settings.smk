# The parameters of the rules that decide which patches there are and what they are labelled, without that of their code.

from types import SimpleNamespace

from slidemill.runs.settings import settings_digest

DISCOVERED = {"file": slide_file, "assume_mpp": CONFIG.assume_mpp, "limit_bounds": CONFIG.sampling.limit_bounds}
SAMPLED = {
    **MEASURED,
    **LABELLED,
    "grid": GRID,
    "max_patches": CONFIG.max_patches,
    "tissue": asdict(CONFIG.tissue),
    "own_mask": slide_mask if MASKS_GIVEN else None,
    "unannotated": slide_unannotated if CONFIG.unannotated in ("skip", "fail") else None,
}
NAMED = {"known": slide_annotation, "labels": asdict(CONFIG.labels), "seed": CONFIG.seed}


def all_settings():
    """By slide and stage, the digest of the parameters that Snakemake gives the job; taken once, when a run begins."""
    found = {}
    for slide in SLIDES:
        wildcards, found[slide] = SimpleNamespace(slide=slide), {}
        for stage, own in {"discover_slides": DISCOVERED, "sample_patches": SAMPLED, "write_metadata": NAMED}.items():
            values = {name: value(wildcards) if callable(value) else value for name, value in own.items()}
            found[slide][stage] = settings_digest(values)
    return found
