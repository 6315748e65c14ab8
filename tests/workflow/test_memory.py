"""What jobs ask for in a real run, once it is known how many patches their slide has."""

import os
import re

import pytest

pytestmark = pytest.mark.long


def asked(text):
    """The megabytes that each rule with a slide asks for."""
    blocks = re.split(r"\n(?=\[|local|rule )", text)
    found = [
        (re.search(r"^(?:local)?rule (\w+):$", one, re.MULTILINE), re.search(r"mem_mb=(\d+)", one)) for one in blocks
    ]
    return {rule[1]: int(memory[1]) for rule, memory in found if rule and memory}


def test_memory_follows_the_patches_once_they_are_sampled(project):
    """A file with room for a million patches of 16 pixels, which has 1,254."""
    project.add("one.svs")
    os.truncate(project.slides / "one.svs", 40_000_000)
    project.config |= {"sampling": {"patch_size": 16, "level": 0}, "stores": {"lmdb": {"encoding": "zstd"}}}
    planned = asked(project.plan("stores").text)
    assert planned["store_patches_lmdb"] == 400 + 40_000_000 * 8 // 16**2 // 1000
    finished = project.snakemake("stores")
    assert finished.code == 0, finished.text
    assert asked(finished.log)["store_patches_lmdb"] == 400 + 1
    # A plan over results that are there knows it from the start.
    planned = asked(project.plan("--forceall", "validated").text)
    assert (planned["sample_patches"], planned["validate_stores"]) == (500, 400 + 2)
