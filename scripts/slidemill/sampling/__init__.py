"""Select and label patches; imports core, slides and annotations."""
