"""The measures of a patch, held against slow and obvious ones; and what a configuration may ask of them."""

import math
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from slidemill.config.configuration import read_config
from slidemill.core.outcomes import Outcome
from slidemill.core.quality_measures import MEASURES as REGISTERED
from slidemill.core.quality_measures import measure
from slidemill.core.specs import GridSpec, QualitySpec, WorkSpec
from slidemill.core.stage_facts import QualitySummary, SampleFacts
from slidemill.errors import ConfigError, SlidemillError
from slidemill.sampling._quality_filter import quality_step
from slidemill.sampling.quality_notes import focus_notes, ink_notes
from slidemill.slides.fingerprint import fingerprint
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader
from slidemill.slides.patch_table import patch_rows
from slidemill.slides.slide_info import open_slide
from slidemill.testing import write_svs
from tests.conftest import painted
from tests.openslide_oracle import facts
from tests.tiffs import Structure, write

pytestmark = pytest.mark.cases

GRID = GridSpec(128, level=0)
ALL = QualitySpec({"min_entropy": 0})

MEASURES = ("blur", "mean_saturation", "white_fraction", "black_fraction", "entropy")


def obvious(pixels):
    """The measures by their definitions, in numbers without end."""
    green = pixels[..., 1].astype(np.int64)
    ring = np.pad(green, 1, "reflect")
    laplacian = ring[:-2, 1:-1] + ring[2:, 1:-1] + ring[1:-1, :-2] + ring[1:-1, 2:] - 4 * green
    # ITU-R BT.601 in OpenCV's fixed point.
    grey = (pixels.astype(np.int64) @ [9798, 19235, 3735] + (1 << 14)) >> 15
    shares = [count / grey.size for count in Counter(grey.ravel().tolist()).values()]
    most, least = pixels.max(-1).astype(np.int64), pixels.min(-1).astype(np.int64)
    saturation = np.where(most > 0, np.rint(255 * (most - least) / np.maximum(most, 1)), 0)
    return {
        "blur": laplacian.var(),
        "mean_saturation": saturation.mean() / 255,
        "white_fraction": (least >= 220).mean(),
        "black_fraction": (most <= 40).mean(),
        "entropy": -sum(share * math.log2(share) for share in shares),
    }


def noise(height, width, low=0, high=256):
    return np.random.default_rng(height * width).integers(low, high, (height, width, 3), np.uint8)


PICTURES = {
    "noise": noise(256, 256),
    "noise, oblong and odd": noise(33, 71),
    "dark noise": noise(64, 64, 0, 60),
    "bright noise": noise(64, 64, 200, 256),
    "tissue": painted()[200:456, 300:556],
    "blank": np.full((32, 32, 3), 243, np.uint8),
    "black": np.zeros((32, 32, 3), np.uint8),
    "white": np.full((32, 32, 3), 255, np.uint8),
    "ink": np.full((32, 32, 3), (30, 60, 160), np.uint8),
    "chequered": np.kron(np.indices((64, 64)).sum(0)[..., None] % 2, np.ones((1, 1, 3))).astype(np.uint8) * 255,
    "large": noise(2048, 2048),
    "every shade": np.random.default_rng(0)
    .permutation(np.indices((256, 256)).reshape(2, -1).T)
    .astype(np.uint8)[:, [0, 1, 1]]
    .reshape(256, 256, 3),
}


@pytest.mark.long
@pytest.mark.parametrize("name", PICTURES)
def test_measures_are_those_of_their_definitions(name):
    assert measure(PICTURES[name]) == pytest.approx(obvious(PICTURES[name]), rel=1e-12, abs=1e-9)


def test_registry_has_the_tested_measures():
    assert tuple(one.column for one in REGISTERED) == MEASURES


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (243, 240, 244), (30, 60, 160)])
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (31, 70)])
def test_entropy_of_one_colour_is_0(colour, shape):
    assert math.copysign(1, entropy_of(np.full((*shape, 3), colour, np.uint8))) == 1
    assert entropy_of(np.full((*shape, 3), colour, np.uint8)) == 0


@pytest.mark.parametrize("bits", range(9))
def test_entropy_of_equally_frequent_greys_is_their_bits(bits):
    values = np.arange(4096) % 2**bits << 8 - bits
    assert entropy_of(grey_patch(values.reshape(64, 64))) == bits


@pytest.mark.parametrize("name", ["noise, oblong and odd", "tissue", "chequered"])
def test_entropy_ignores_the_order_of_pixels(name):
    pixels = PICTURES[name]
    shuffled = np.random.default_rng(1).permutation(pixels.reshape(-1, 3)).reshape(pixels.shape)
    assert entropy_of(shuffled) == entropy_of(pixels) == entropy_of(pixels.transpose(1, 0, 2).copy())


def test_entropy_depends_on_no_earlier_patch():
    alone = [entropy_of(PICTURES[name]) for name in PICTURES]
    assert [entropy_of(PICTURES[name]) for name in reversed(PICTURES)] == alone[::-1]


def grey_patch(values):
    return np.repeat(values.astype(np.uint8)[..., None], 3, axis=2)


def entropy_of(pixels):
    return measure(pixels)["entropy"]


def stepped(path, spec=ALL, grid=GRID, reader="auto", threads=2, blocks=1):
    """The rows of a slide with their measures, the reasons to drop them, and the summary."""
    info = facts(path)
    rows = list(patch_rows("slide", info, grid))
    size = -(-len(rows) // blocks)
    with quality_step(path, fingerprint(path), info, grid=grid, spec=spec, work=WorkSpec(reader, threads, 0)) as step:
        reasons = [reason for first in range(0, len(rows), size) for reason in step(rows[first : first + size])]
    return rows, reasons, step.summary()


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory):
    """A slide with something of everything, black too."""
    pixels = painted()
    pixels[:150, :400] = 10
    path = tmp_path_factory.mktemp("quality") / "small.svs"
    write_svs(path, pixels)
    return path


@pytest.fixture(scope="module")
def by_openslide(slide_file):
    return stepped(slide_file, reader="openslide", threads=1)


def test_the_table_tells_the_measures_of_openslides_pixels(slide_file, by_openslide):
    rows, reasons, summary = by_openslide
    info = facts(slide_file)
    with open_slide(slide_file) as slide:
        reader = PatchReader(slide, info, GRID)
        wanted = [measure(np.asarray(reader.read(patch))) for patch in Grid(info.pyramid, GRID).patches()]
    assert [[row[name] for name in MEASURES] for row in rows] == [
        [f"{own[name]:.4g}" for name in MEASURES] for own in wanted
    ]
    assert set(reasons) == {""}
    assert summary.measured == len(rows) > 40
    assert {sum(counts) for counts in summary.counts.values()} == {len(rows)}


@pytest.mark.parametrize(("reader", "threads", "blocks"), [("tiles", 1, 1), ("tiles", 3, 4), ("openslide", 2, 3)])
def test_measures_are_the_same_whoever_reads(slide_file, by_openslide, reader, threads, blocks):
    assert stepped(slide_file, reader=reader, threads=threads, blocks=blocks) == by_openslide


@pytest.mark.parametrize(
    ("limit", "column", "sign"),
    [
        ("min_blur", "blur", 1),
        ("min_saturation", "mean_saturation", 1),
        ("max_white_fraction", "white_fraction", -1),
        ("max_black_fraction", "black_fraction", -1),
        ("min_entropy", "entropy", 1),
    ],
)
def test_what_the_table_says_decides(slide_file, by_openslide, limit, column, sign):
    values = [float(row[column]) for row in by_openslide[0]]
    # A patch right at the limit stays.
    bound = sorted(values)[len(values) // 2] or max(values) / 2
    _, reasons, summary = stepped(slide_file, QualitySpec({**ALL.limits, limit: bound}))
    assert reasons == [column if sign * value < sign * bound else "" for value in values]
    assert {"", column} == set(reasons)
    assert summary == by_openslide[2]


def test_entropy_is_measured_only_with_a_limit(slide_file, by_openslide):
    rows, _, summary = stepped(slide_file, QualitySpec())
    assert {row["entropy"] for row in rows} == {""}
    assert [row | {"entropy": ""} for row in by_openslide[0]] == rows
    assert list(summary.counts) == [name for name in MEASURES if name != "entropy"]


def test_the_first_measure_out_of_bounds_is_the_reason(slide_file):
    spec = QualitySpec({"min_blur": 1e7, "min_saturation": 1.0, "max_white_fraction": 0.0})
    assert set(stepped(slide_file, spec)[1]) == {"blur"}


@pytest.mark.parametrize("reader", ["auto", "openslide"])
def test_a_patch_that_cannot_be_read_stays_without_measures(tmp_path, reader):
    path = tmp_path / "a.svs"
    structure = Structure("", rgb=True, downsamples=(1, 4))
    write(path, painted(), structure, lambda number, data: data[: len(data) // 2] if number == 30 else data)
    rows, reasons, summary = stepped(path, QualitySpec({"min_blur": 1e7}), reader=reader)
    left, top = 30 % 9 * 128, 30 // 9 * 128
    unread = [row["patch_id"] for row in rows if row["blur"] == ""]
    assert unread == [row["patch_id"] for row in rows if (row["x0"], row["y0"]) == (left, top)]
    assert all((row["mean_saturation"] == "") == (row["blur"] == "") for row in rows)
    assert [row["patch_id"] for row, reason in zip(rows, reasons, strict=True) if not reason] == unread
    assert summary.measured == len(rows) - 1


def test_a_slide_that_changes_meanwhile_is_no_slide_to_measure(tmp_path):
    path = tmp_path / "a.svs"
    write_svs(path, painted())
    planned, info = fingerprint(path), facts(path)
    asked = partial(quality_step, path, planned, info, grid=GRID, spec=QualitySpec(), work=WorkSpec("auto", 1, 0))
    with pytest.raises(SlidemillError, match="not what it was"), asked(), path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SlidemillError, match="not what it was"), asked():
        raise AssertionError("it had changed before")


INKS = {"blue": (30, 60, 170), "green": (20, 130, 70), "red": (200, 20, 30)}


@pytest.mark.long
@pytest.mark.parametrize("ink", INKS)
def test_a_slide_that_was_written_on_is_told(tmp_path, ink):
    pixels = painted(2060, 1554)
    write_svs(tmp_path / "clean.svs", pixels)
    pixels[700:760, 100:1900] = INKS[ink]
    write_svs(tmp_path / "marked.svs", pixels)
    clean, marked = (stepped(tmp_path / f"{name}.svs")[2] for name in ("clean", "marked"))
    assert ink_notes(clean) == []
    assert marked.marked >= 14
    (note,) = ink_notes(marked)
    told = f"pen: {marked.marked} of {marked.measured} patches have colours of felt pens on them"
    assert note == f"{told}, which some stains have too"


def test_ink_that_nobody_could_look_for_is_not_told():
    assert ink_notes(QualitySummary(measured=5)) == []


def outcome(slide, focus, patches=50, status="ok"):
    return measured_slide(slide, QualitySummary(measured=patches, focus=focus, focus_patches=patches), status)


def measured_slide(slide, quality, status="ok"):
    return Outcome(slide, "write_metadata", status, sample=SampleFacts(grid=9, patches=9, quality=quality))


def test_a_slide_less_sharp_than_the_others_is_told():
    sharp = [outcome(f"s{number}", 400.0 + 100 * number) for number in range(5)]
    assert focus_notes(sharp) == {}
    assert list(focus_notes([*sharp, outcome("blurred", 120.0)])) == ["blurred"]
    assert focus_notes([*sharp, outcome("empty", None, 0), outcome("small", 1.0, 5)]) == {}
    assert focus_notes([*sharp, outcome("failed", 1.0, status="failed"), Outcome("plain", "write_metadata")]) == {}
    assert focus_notes([sharp[0], outcome("blurred", 1.0)]) == {}, "two slides have no usual sharpness"


@pytest.mark.long
def test_a_slide_out_of_focus_is_told_from_the_same_in_focus(tmp_path):
    from PIL import Image, ImageFilter

    seen = {}
    for number, radius in enumerate((0, 0, 0, 1.5)):
        pixels = painted(1030, 777, seed=number)
        blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))
        write_svs(tmp_path / f"{number}.svs", blurred)
        seen[number] = stepped(tmp_path / f"{number}.svs")[2]
    assert seen[0].focus_patches >= 20
    notes = focus_notes(measured_slide(str(number), own) for number, own in seen.items())
    assert list(notes) == ["3"]


def read(**values):
    return read_config({"slides": "slides", "results": "results"} | values, Path("/cohort")).quality


def test_quality_is_asked_for_by_true_or_by_limits():
    assert read() is None
    assert read(quality=False) is None
    assert read(quality=True) == QualitySpec()
    assert read(quality={}) == QualitySpec()
    assert read(quality={"min_blur": 20, "max_white_fraction": None}) == QualitySpec({"min_blur": 20})
    given = {
        "min_blur": 1.5,
        "min_saturation": 0.05,
        "max_white_fraction": 0.9,
        "max_black_fraction": 0.1,
        "min_entropy": 2,
    }
    assert read(quality=given) == QualitySpec(given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, "quality is None, not true or false or a mapping"),
        ("yes", "quality is 'yes', not true or false"),
        ({"blur": 5}, "quality.blur is 5, an unknown key: did you mean min_blur?"),
        ({"min_blur": -1}, "quality.min_blur is -1, not 0 or more"),
        ({"min_blur": "5"}, "quality.min_blur is '5', not a number or null"),
        ({"min_blur": True}, "quality.min_blur is True, not a number"),
        ({"min_saturation": 12}, "quality.min_saturation is 12, not 1 or less"),
        ({"min_entropy": 9}, "quality.min_entropy is 9, not 8 or less"),
        ({"max_white_fraction": 90}, "quality.max_white_fraction is 90, not 1 or less"),
        ({"max_black_fraction": float("nan")}, "quality.max_black_fraction is nan, not a number"),
    ],
)
def test_faults_are_told(given, words):
    with pytest.raises(ConfigError) as caught:
        read(quality=given)
    assert words in str(caught.value)
