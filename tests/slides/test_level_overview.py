"""``slidemill inspect``, as it is called."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from slidemill.cli.commands import main
from slidemill.core.specs import GridSpec
from slidemill.slides.level_overview import describe, levels_of
from slidemill.slides.slide_info import open_slide, slide_info
from tests.conftest import ROOT
from tests.tiffs import break_tile


def test_a_slides_levels_are_listed_with_their_keys(slide_file, tmp_path, capsys):
    assert main(["inspect", str(slide_file), "--patch-size", "128", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "aperio, 20x, 0.5 micrometres a pixel" in lines[0]
    row = next(line for line in lines if "level: 0 " in line and "deepzoom" not in line)
    # 1030 x 777 pixels: 9 x 7 patches of 128, those at the right and at the bottom cut.
    assert "1030 x 777" in row
    assert "9 x 7" in row
    assert " 48 " in row
    assert any("deepzoom_level: 11" in line for line in lines)
    with Image.open(tmp_path / "small.png") as sheet:
        assert sheet.width > 256


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
    assert "0.25 x 0.5 micrometres a pixel, which is not square" in first
