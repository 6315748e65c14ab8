"""What a run has made, digest for digest."""

import hashlib


def digests(results):
    """A digest of each file of the stores, and of each table of patches, by its place in the results."""
    files = [path for folder in ("stores", "patches") for path in (results / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
