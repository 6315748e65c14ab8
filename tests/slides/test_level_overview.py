"""``slidemill inspect``, as it is called."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from slidemill.cli.commands import main
from slidemill.core.pyramid import SlideInfo
from slidemill.core.specs import GridSpec
from slidemill.slides.level_overview import describe, levels_of, resolutions_of
from slidemill.slides.slide_info import open_slide, slide_info
from tests.conftest import ROOT
from tests.tiffs import break_tile


def test_a_slides_levels_are_listed_with_their_keys(slide_file, tmp_path, capsys):
    assert main(["inspect", str(slide_file), "--patch-size", "128", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "aperio, 20x, 0.5 µm per pixel" in lines[0]
    row = next(line for line in lines if "level: 0 " in line and "deepzoom" not in line)
    # 1030 x 777 pixels: 9 x 7 patches of 128, those at the right and at the bottom cut.
    assert "1030 x 777" in row
    assert "9 x 7" in row
    assert " 48 " in row
    assert any("deepzoom_level: 11" in line for line in lines)
    with Image.open(tmp_path / "small.png") as sheet:
        assert sheet.width > 256
        # A frame around the patch, and its key below.
        assert sheet.getpixel((0, 255)) == sheet.getpixel((255, 0)) == (0x99, 0x99, 0x99)
        assert sheet.convert("L").crop((4, 260, 200, 280)).getextrema()[0] < 64


def rows_of(info, size=256):
    """The lines of a slide's table by their key."""
    spec = GridSpec(size, level=0)
    lines = describe(Path("a.svs"), info, [*levels_of(info, spec), *resolutions_of(info, spec)]).splitlines()[2:]
    return {" ".join(line.split()[:2]): " ".join(line.split()[2:]) for line in lines}


def slide_of(mpp=0.25, power=40.0, **more):
    facts = {"dimensions": ((20000, 12000), (5000, 3000), (1250, 750)), "downsamples": (1.0, 4.0, 16.0)}
    return SlideInfo(
        "aperio", bounds=None, mpp_x=mpp, mpp_y=mpp, objective_power=power, background="ffffff", **facts | more
    )


def test_inspect_lists_usual_resolutions():
    rows = rows_of(slide_of())
    assert rows["mpp: 0.25"] == "20000 x 12000 79 x 47 3588 1 0.25 level 0"
    assert rows["mpp: 0.5"] == "10000 x 6000 40 x 24 897 2 0.5 level 0"
    assert rows["mpp: 1"] == "5000 x 3000 20 x 12 209 4 1 level 1"
    assert rows["mpp: 2"] == "2500 x 1500 10 x 6 45 8 2 level 1"
    for mpp, power in ((0.25, 40), (0.5, 20), (1, 10), (2, 5)):
        assert rows[f"magnification: {power}"] == rows[f"mpp: {mpp}"]
    assert list(rows)[-8:] == [
        *(f"mpp: {value}" for value in (0.25, 0.5, 1, 2)),
        *(f"magnification: {value}" for value in (40, 20, 10, 5)),
    ]


def test_inspect_says_why_a_resolution_is_not_available():
    rows = rows_of(slide_of(0.5, 20.0))
    assert rows["mpp: 0.25"].startswith("not available: mpp 0.25 is finer than the slide, which has 0.5")
    assert rows["magnification: 40"].startswith("not available: magnification 40 is finer than the slide")
    assert rows["magnification: 20"].startswith("20000 x 12000")
    unknown = rows_of(slide_of(None, None))
    assert all(
        text.startswith("not available: the slide does not state") for key, text in unknown.items() if key[0] == "m"
    )
    assert sum(key[0] == "m" for key in unknown) == 8
    uneven = rows_of(replace(slide_of(), mpp_y=0.5))
    assert "not available: the slide's pixels are not square" in uneven["mpp: 1"]


def test_inspect_omits_levels_under_64_pixels():
    rows = rows_of(slide_of(dimensions=((1000, 600), (63, 38)), downsamples=(1.0, 16.0)))
    levels = [key for key in rows if "level" in key]
    assert levels == ["level: 0", *(f"deepzoom_level: {level}" for level in (10, 9, 8, 7, 6))][: len(levels)]
    assert "level: 1" not in rows
    assert all(int(rows[key].split(" ")[0]) >= 64 or key == "level: 0" for key in levels)
    # Level 0 is listed however small.
    assert "level: 0" in rows_of(slide_of(dimensions=((40, 30),), downsamples=(1.0,)), 16)


def test_inspect_draws_only_with_out(slide_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(slide_file)]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "centre patch" not in capsys.readouterr().out


def test_a_folder_is_gone_through_and_a_broken_slide_named(slide_file, tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copy(slide_file, folder / "good.svs")
    (folder / "bad.svs").write_text("no slide")
    assert main(["inspect", str(folder), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "good.svs: aperio" in told.out
    assert "bad.svs: OpenSlide knows no format" in told.err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_slide_with_a_broken_patch_is_still_drawn(slide_file, tmp_path, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    shutil.copy(slide_file, folder / "one.svs")
    break_tile(folder / "one.svs", 1, 0)
    assert main(["inspect", str(folder), "--patch-size", "128", "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "one.svs: aperio" in told.out
    assert "one.svs: level 1: patch r0000" in told.err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_reader_that_has_seen_enough_is_no_fault_of_the_disks(slide_file, tmp_path):
    command = [sys.executable, "-m", "slidemill", "inspect", str(slide_file), "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "PYTHONUNBUFFERED": "1"}
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(command, env=environment, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--patch-size", "64", "--overlap", "32"], "less than patch-size"),
        (["--patch-size", "0"], "--patch-size is 0"),
        (["--overlap", "-1"], "--overlap -1"),
    ],
)
def test_a_grid_that_cannot_be_is_refused(slide_file, tmp_path, capsys, arguments, words):
    assert main(["inspect", str(slide_file), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_slides_is_told(tmp_path, capsys):
    assert main(["inspect", str(tmp_path)]) == 1
    assert "no slide found" in capsys.readouterr().err


def test_inspect_says_that_pixels_are_not_square(slide_file):
    with open_slide(slide_file) as slide:
        info = replace(slide_info(slide), mpp_x=0.25, mpp_y=0.5)
    first = describe(slide_file, info, levels_of(info, GridSpec(128, level=0))).splitlines()[0]
    assert "0.25 x 0.5 µm per pixel, which is not square" in first
