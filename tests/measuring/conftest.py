"""Sampled slides, as discover_slides and sample_patches leave them."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from slidemill.core.results_layout import DROPPED, FACTS, PATCHES, outcome_file
from slidemill.core.specs import GridSpec, StoreSpec, TissueSpec, WorkSpec
from slidemill.measuring.cohort import Cohort, read_cohort
from slidemill.sampling.patch_selection import Choice
from slidemill.slides.discovery import find_slides
from slidemill.slides.fingerprint import fingerprint
from slidemill.stages.discover import DiscoverJob, discover_slide
from slidemill.stages.sample import SampleJob, sample_patches
from slidemill.stages.store import StoreJob, store_patches
from slidemill.testing import write_svs
from tests.conftest import painted

GRID = GridSpec(64, level=0)


@dataclass
class Sampled:
    """The results of sampled slides, and the files that a job over all of them takes."""

    slides: Path
    results: Path
    ids: list[str]

    @property
    def outcomes(self):
        return [self.results / outcome_file("sample_patches", slide) for slide in self.ids]

    def cohort(self, grid=GRID) -> Cohort:
        return read_cohort(self.slides, self.outcomes, grid)

    def store(self, backend, spec: StoreSpec, slide, path, grid=GRID):
        """Write a slide's store, as a job does."""
        store_patches(
            StoreJob(
                root=self.slides,
                patches=self.results / PATCHES.format(slide=slide),
                sampled=self.results / outcome_file("sample_patches", slide),
                backend=backend,
                settings=spec,
                grid=grid,
                work=WorkSpec("auto", 1, 0),
                store=path,
                outcome=path.with_name(f"{path.name}.json"),
            )
        )


def sampled(folder, grid=GRID, pictures=((620, 530, 1), (1030, 777, 2), (64, 40, 3)), tile=240) -> Sampled:
    """Write slides of these sizes and seeds, and sample them; the last one is too small for a patch.

    `tile` is the side of all tiles, or that of each slide's.
    """
    sides = [tile] * len(pictures) if isinstance(tile, int) else tile
    made = Sampled(folder / "slides", folder / "results", [])
    made.slides.mkdir(parents=True)
    for number, ((width, height, seed), side) in enumerate(zip(pictures, sides, strict=True)):
        write_svs(made.slides / f"s{number}.svs", painted(width, height, seed), downsamples=(1,), tile=side)
    for one in find_slides(made.slides):
        made.ids.append(one.slide)
        facts = made.results / FACTS.format(slide=one.slide)
        discover_slide(
            DiscoverJob(
                root=made.slides,
                slide=one.slide,
                path=one.path,
                fingerprint=fingerprint(made.slides / one.path),
                limit_bounds=True,
                facts=facts,
            )
        )
        sample_patches(
            SampleJob(
                root=made.slides,
                facts=facts,
                choice=Choice(grid, TissueSpec("none")),
                table=made.results / PATCHES.format(slide=one.slide),
                dropped=made.results / DROPPED.format(slide=one.slide),
                outcome=made.results / outcome_file("sample_patches", one.slide),
            )
        )
    return made


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory):
    """Three sampled slides: 72 patches, 192 patches and none."""
    return sampled(tmp_path_factory.mktemp("cohort"))
