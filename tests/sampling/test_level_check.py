"""Whether any slide can be sampled as configured, from headers alone."""

import pytest

from slidemill.core.specs import GridSpec
from slidemill.sampling.level_check import find_refusals


@pytest.mark.parametrize(
    ("grid", "reason"),
    [
        (GridSpec(level=7), "small.svs: native level 7 does not exist; levels count from 0, so this slide has 0 to 2"),
        (GridSpec(deepzoom_level=40), "small.svs: DeepZoom level 40 does not exist"),
        (GridSpec(mpp=0.1), "small.svs: mpp 0.1 is finer than the slide"),
        (GridSpec(magnification=90), "small.svs: magnification 90 is finer than the slide"),
    ],
    ids=["level", "deepzoom_level", "mpp", "magnification"],
)
def test_grid_that_the_slide_lacks_is_refused(slide_file, grid, reason):
    (line,) = find_refusals([(slide_file, None)], grid, None)
    assert line.startswith(reason)


def test_one_slide_with_the_level_is_enough(slide_file, flat_slide_file):
    """The flat one has level 0 only."""
    slides = [(flat_slide_file, None), (slide_file, None)]
    assert find_refusals(slides, GridSpec(level=2), None) == []
    assert len(find_refusals(slides, GridSpec(level=3), None)) == 2


def test_mpp_of_the_sheet_and_of_the_configuration_count(flat_slide_file):
    assert "does not state its µm per pixel" in find_refusals([(flat_slide_file, None)], GridSpec(mpp=1.0), None)[0]
    assert find_refusals([(flat_slide_file, 0.5)], GridSpec(mpp=1.0), None) == []
    assert find_refusals([(flat_slide_file, None)], GridSpec(mpp=1.0), 0.5) == []


def test_broken_slides_cannot_be_sampled_but_refuse_nothing(slide_file, tmp_path):
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    assert find_refusals([(broken, None)], GridSpec(level=7), None) == []
    assert len(find_refusals([(broken, None), (slide_file, None)], GridSpec(level=7), None)) == 1


def test_slide_that_is_away_ends_the_check(slide_file, tmp_path):
    """Its disk may come back, and it may have the level."""
    assert find_refusals([(slide_file, None), (tmp_path / "away.svs", None)], GridSpec(level=7), None) == []


def test_three_reasons_are_enough(slide_file):
    assert len(find_refusals([(slide_file, None)] * 5, GridSpec(level=7), None)) == 3
