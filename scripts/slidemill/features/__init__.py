"""Features of patches: what a model returns for each, one file per slide and model."""
