"""Peak memory of whole jobs that write a store of patches shrunk from many pixels.

    python -m benchmarks.store_memory SLIDE [--factors 12 16] [--threads 4] [--stores lmdb=zstd disk=png]

Each job runs in a process of its own, as the workflow starts it; its peak resident memory is the kernel's, pages of
mapped files included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.machine import ROOT, code, machine
from slidemill.core.job_log import peak_bytes
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import GridSpec, StoreSpec, WorkSpec
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.stages.store import new_manifest, store_slide
from slidemill.stores.registry import STORES

WANTED_MB = 250


def store(slide: Path, store: str, *, factor: float, kind: str, reader: str, threads: int) -> tuple[int, str]:
    """Write a store of a whole slide; return the number of patches and the reader.

    Parameters
    ----------
    slide
        The slide.
    store
        Backend and encoding, as ``lmdb=zstd``.
    factor, kind
        How many pixels of the slide, in each direction, a pixel of a patch has, and the filter.
    reader, threads
        As the configuration has them.
    """
    backend, _, encoding = store.partition("=")
    with open_slide(slide) as handle:
        info = slide_info(handle)
    # As if the level were the slide's only one, so that patches are shrunk by the whole factor.
    info = replace(info, dimensions=info.dimensions[:1], downsamples=info.downsamples[:1])
    assert info.mpp is not None
    grid = GridSpec(256, mpp=info.mpp * factor, filter=kind)
    patches = list(Grid(info.pyramid, grid).patches())
    own = STORES[backend]
    manifest = new_manifest(own, StoreSpec(encoding, 90), "one", fingerprint=fingerprint(slide), grid=grid)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, f"one{SUFFIXES[backend]}")
        asked, work = SlidePatches(slide, info, grid, patches), WorkSpec(reader, threads, 0, False, None)
        facts = store_slide(asked, target, manifest, backend=own, work=work).store
    assert facts is not None
    return facts.patches, facts.reader


def main() -> None:
    """Measure each job, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide", type=Path)
    parser.add_argument("--factors", nargs="+", type=float, default=[12, 16])
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--stores", nargs="+", default=["lmdb=zstd", "disk=png"])
    parser.add_argument("--filters", nargs="+", default=["area", "lanczos"])
    parser.add_argument("--readers", nargs="+", default=["tiles", "openslide"])
    parser.add_argument("--one", action="store_true", help="run only the first job, in this process")
    given = parser.parse_args()
    if given.one:
        way = {"factor": given.factors[0], "kind": given.filters[0], "reader": given.readers[0]}
        count, reader = store(given.slide, given.stores[0], threads=given.threads, **way)
        print(f"| {count} | {reader} | {peak_bytes() / 1e6:.0f} |")
        return
    print(f"{machine()}; {code()}; {given.threads} threads; wanted: at most {WANTED_MB} MB\n")
    print("| store | filter | factor | patches | reader | peak, MB |\n|---|---|---:|---:|---|---:|")
    for factor in given.factors:
        for kind in given.filters:
            for reader in given.readers:
                for own in given.stores:
                    command = [sys.executable, "-m", "benchmarks.store_memory", str(given.slide), "--one"]
                    command += ["--factors", str(factor), "--filters", kind, "--readers", reader]
                    command += ["--stores", own, "--threads", str(given.threads)]
                    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)  # noqa: S603
                    print(f"| {own} | {kind} | {factor:g} {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
