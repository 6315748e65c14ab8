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
    ("disk is full", "how-to/troubleshooting.html"),
    ("remove slides", "how-to/resume.html"),
    ("move results", "how-to/resume.html"),
    ("GPU", "how-to/embed-a-cohort.html"),
    ("Slurm", "how-to/clusters.html"),
    ("network drives", "how-to/clusters.html"),
    ("different programs", "reference/configuration.html"),
    ("workers", "how-to/training.html"),
    ("Windows", "index.html"),
    ("cite", "index.html"),
]
