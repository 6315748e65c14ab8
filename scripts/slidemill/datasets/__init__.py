"""Read stores for training, split slides into folds, and export patches.

It imports core, stores and slides.
"""
