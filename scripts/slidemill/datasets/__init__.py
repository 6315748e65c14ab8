"""Read stores for training, split slides into folds, and exchange patches; imports core and stores."""
