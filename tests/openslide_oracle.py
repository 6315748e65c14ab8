"""Patches as OpenSlide gives them, against which the readers of tiles are compared, and damage to tiles."""

import numpy as np

from slidemill.core.specs import GridSpec
from slidemill.slides.grid import Grid
from slidemill.slides.openslide_reader import PatchReader, unreadable_patches
from slidemill.slides.patch_table import SlidePatches
from slidemill.slides.reader_choice import open_reader
from slidemill.slides.readers import TileReader
from slidemill.slides.slide_info import open_slide, slide_info
from slidemill.tiles.levels import open_level
from slidemill.tiles.tiled_level import TilesError

SPEC = GridSpec(128, level=0)


def facts(path):
    """What OpenSlide reports of a slide."""
    with open_slide(path) as slide:
        return slide_info(slide)


def asked_of(path, spec):
    """All patches of a grid over a slide."""
    info = facts(path)
    return SlidePatches(path, info, spec, list(Grid(info.pyramid, spec).patches()))


def read_all(path, spec, choice="auto", threads=2):
    """All patches as one reader gives them, which reader it was, and why."""
    asked = asked_of(path, spec)
    with open_reader(asked, choice, seed=5) as (reader, why):
        found = {patch.patch_id: pixels for patch, pixels in reader.read(asked.patches, np.copy, threads)}
    assert list(found) == [patch.patch_id for patch in asked.patches]
    return found, reader.name, why


def expected(path, spec):
    """All patches as OpenSlide gives them, one after another."""
    with open_slide(path) as slide:
        info = slide_info(slide)
        reader = PatchReader(slide, info, spec)
        return {patch.patch_id: reader.read(patch) for patch in Grid(info.pyramid, spec).patches()}


def assert_openslides(path, spec, reader="tiles", **options):
    """All patches are OpenSlide's, and this reader gave them; return why it was chosen."""
    found, name, why = read_all(path, spec, **options)
    assert name == reader, why
    wanted = expected(path, spec)
    assert list(found) == list(wanted) != []
    for patch_id, pixels in wanted.items():
        np.testing.assert_array_equal(found[patch_id], pixels, patch_id)
    return why


def strict(path, spec=SPEC):
    """Patches by the tiles alone, or the tiles' fault; nothing is compared before."""
    asked = asked_of(path, spec)
    try:
        with open_level(path, asked.info, 0) as level:
            reader = TileReader(level, asked.info, spec)
            return {patch.patch_id: pixels for patch, pixels in reader.read(asked.patches, np.copy, 1)}
    except TilesError as error:
        return error


def assert_openslides_or_a_fault(path):
    """The tiles are refused, for the fault that is returned; or all patches are OpenSlide's, which reads them all."""
    found = strict(path)
    if isinstance(found, TilesError):
        return str(found)
    assert unreadable_patches(asked_of(path, SPEC)) == {}
    for patch_id, pixels in expected(path, SPEC).items():
        np.testing.assert_array_equal(found[patch_id], pixels, patch_id)
    return ""


def damage(data, generator):
    """Return the bytes of a tile with one of four kinds of damage."""
    changed = bytearray(data)
    kind = generator.choice(["one bit", "some bytes", "the end", "the head"])
    if kind == "one bit":
        changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    elif kind == "some bytes":
        for _ in range(5):
            changed[generator.randrange(len(data))] ^= generator.randrange(1, 256)
    elif kind == "the end":
        start = generator.randrange(len(data))
        changed[start:] = bytes(len(data) - start)
    else:
        changed[generator.randrange(60)] ^= generator.randrange(1, 256)
    return bytes(changed)
