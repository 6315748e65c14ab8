"""Read annotation files and label images as regions; imports core."""
