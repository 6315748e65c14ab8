"""What users search for in the docs, and the page of the site that answers."""

SEARCHES = [
    ("resume", "how-to/resume.html"),
    ("disk space", "how-to/disk-and-time.html"),
    ("mpp", "reference/configuration.html"),
    ("magnification", "reference/configuration.html"),
    ("QuPath", "how-to/qupath.html"),
    ("HALO", "reference/configuration.html"),
    ("leakage", "explanation/folds.html"),
    ("webdataset", "reference/configuration.html"),
    ("out of memory", "how-to/troubleshooting.html"),
]
