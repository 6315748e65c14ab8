"""A slide taken through the stages one by one, by the functions that the rules' scripts call, without Snakemake."""

import numpy as np
import openslide

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import read_outcome
from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import StoreSpec, TissueSpec, ValidationSpec, WorkSpec
from slidemill.sampling.patch_selection import Choice
from slidemill.slides.discovery import decode_path, find_slides
from slidemill.slides.fingerprint import fingerprint
from slidemill.stages.discover import DiscoverJob, discover_slide
from slidemill.stages.gather import SlideResults, slide_row
from slidemill.stages.sample import SampleJob, sample_patches
from slidemill.stages.store import StoreJob, store_patches
from slidemill.stages.validate import ValidateJob, validate_stores

BACKENDS = {"lmdb": StoreSpec("zstd"), "hdf5": StoreSpec("raw")}
CHECKS = ValidationSpec(sample=20, min_psnr=30)


class Run:
    """The slide, as `write` writes it in a folder of its own, and its facts; `kind` is the test's own."""

    def __init__(self, folder, write, picture, kind=None):
        self.kind, self.folder, self.root = kind, folder, folder / "slides"
        self.root.mkdir(parents=True)
        self.source = write(self.root, picture)
        (self.found,) = find_slides(self.root)
        assert self.root / decode_path(self.found.path) == self.source
        self.facts = folder / "facts.json"
        printed = fingerprint(self.source)
        discover_slide(
            DiscoverJob(
                root=self.root,
                slide=self.found.slide,
                path=self.found.path,
                fingerprint=printed,
                limit_bounds=True,
                facts=self.facts,
            )
        )
        self.discovered = read_outcome(self.facts)
        assert not self.discovered.failed, self.discovered.message
        self.info = self.discovered.info

    def stores(self, grid, backends=BACKENDS, icc="ignore", reader="auto"):
        """Store and validate; return the slide's row of slides.csv, and the stores' paths."""
        table, sampled = self.folder / "patches.csv", self.folder / "sampled.json"
        choice = Choice(grid, TissueSpec("none"))
        dropped = self.folder / "dropped.csv"
        sample_patches(
            SampleJob(root=self.root, facts=self.facts, choice=choice, table=table, dropped=dropped, outcome=sampled)
        )
        paths = {backend: self.folder / f"{backend}{SUFFIXES[backend]}" for backend in backends}
        stored = []
        for backend, spec in backends.items():
            stored.append(self.folder / f"{backend}.json")
            work = WorkSpec(reader, 2, seed=1)
            store_patches(
                StoreJob(
                    root=self.root,
                    patches=table,
                    sampled=sampled,
                    backend=backend,
                    settings=spec,
                    grid=grid,
                    work=work,
                    store=paths[backend],
                    outcome=stored[-1],
                    icc=icc,
                )
            )
        checked = self.folder / "validation.csv"
        self.validate(stored, paths, grid, checked, icc)
        later = [read_outcome(path) for path in (sampled, *stored)]
        return slide_row(SlideResults(self.discovered, later), list(read_table(checked)), False), paths

    def validate(self, stored, stores, grid, checked, icc):
        """Check the stores, and write the findings to the table `checked`."""
        validate_stores(
            ValidateJob(
                root=self.root,
                patches=self.folder / "patches.csv",
                stored=stored,
                stores=stores,
                grid=grid,
                spec=CHECKS,
                seed=1,
                threads=2,
                table=checked,
                icc=icc,
            )
        )

    def pixels(self, patch, level=0):
        """A patch as OpenSlide reads it, over the slide's background."""
        with openslide.OpenSlide(self.source) as slide:
            region = slide.read_region((int(patch["x0"]), int(patch["y0"])), level, (100, 100))
        canvas = np.full((100, 100, 3), tuple(bytes.fromhex(self.info.background)), np.uint8)
        seen = np.asarray(region)[..., 3] == 255
        canvas[seen] = np.asarray(region)[seen, :3]
        return canvas
