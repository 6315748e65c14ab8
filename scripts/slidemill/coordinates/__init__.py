"""Read coordinates of patches from other programs' files; imports core and slides."""
