"""Choose which patches are kept, and label them; imports core, slides and annotations."""
