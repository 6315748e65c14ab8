"""What the rules take from a configuration: a value that changes, in type or order too, runs finished jobs again."""

import json
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path

import pytest

from slidemill.config.configuration import Config, read_config

BASE = Path("/cohort")
FOLDERS = {"slides": "slides", "results": "results"}
EXPECTED = json.loads((Path(__file__).parent / "rule_parameters.json").read_text(encoding="utf-8"))
GIVEN = {
    "defaults": FOLDERS,
    "whole numbers": FOLDERS
    | {
        "sampling": {"mpp": 1, "assume_mpp": 1},
        "tissue": {"min_fraction": 1},
        "quality": {"min_blur": 20, "max_white_fraction": 1},
        "labels": {"rule": "area", "min_fraction": 1},
        "stores": {"tar": {}, "lmdb": {"encoding": "jpeg"}},
        "splits": {},
        "validation": {"min_psnr": 20},
        "benchmark": {"time_limit": 60},
    },
    "all keys": {
        "slides": "sheets/all.csv",
        "results": "/elsewhere/results",
        "sampling": {
            "patch_size": 512,
            "overlap": 16,
            "magnification": 20.0,
            "assume_mpp": 0.25,
            "max_patches": 1000,
            "limit_bounds": False,
            "edges": "pad",
        },
        "tissue": {
            "method": "hsv",
            "min_fraction": 0.5,
            "level": 2,
            "mask_values": [1, 7],
            "pens": "exclude",
            "mask_origin": "bounds",
        },
        "quality": {
            "min_blur": 12.5,
            "min_saturation": 0.05,
            "max_white_fraction": 0.9,
            "max_black_fraction": None,
        },
        "labels": {
            "map": {"Tumor": 1, "A\u0308": 2, "none": 0},
            "rule": "area",
            "min_fraction": 0.25,
            "overlap": "smallest",
            "only": ["Tumor", "A\u0308"],
            "outside": None,
            "unnamed": "none",
            "property": "class",
            "origin": "canvas",
            "unannotated": "skip",
            "unmapped": "ignore",
        },
        "reader": "tiles",
        "icc": "srgb",
        "unreadable_patches": "skip",
        "max_failed": 3,
        "scratch": "$TMPDIR",
        "stores": {
            "disk": {"encoding": "jpeg", "quality": 75},
            "hdf5": {"encoding": "zstd"},
            "lmdb": {},
            "tar": {"encoding": "png"},
        },
        "splits": {"folds": 3, "by": "patient", "stratify": None},
        "validation": {"sample": 0, "min_psnr": 32.5},
        "benchmark": {"patches": 8, "repeats": 1, "time_limit": 0.5},
        "seed": 7,
    },
    "switches": FOLDERS
    | {
        "annotations": "xml",
        "sampling": {"deepzoom_level": 9},
        "tissue": {"masks": "masks"},
        "quality": True,
        "labels": {"only": None},
        "stores": {"lmdb": {}},
        "splits": None,
    },
}
"""Configurations by name; `rule_parameters.json` holds what each becomes: 30 is not 30.0."""


def parameters(config: Config):
    """Return a configuration's values in their order; stores stand in the order of their names."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    specs = {name: asdict(value) for name, value in values.items() if is_dataclass(value)}
    specs["sampling"] = config.sampling.to_json()
    stores = {name: asdict(config.stores[name]) for name in sorted(config.stores)}
    return json.dumps(values | specs | {"stores": stores}, default=str)


@pytest.mark.parametrize("name", GIVEN)
def test_rule_parameters_stay(name):
    assert parameters(read_config(GIVEN[name], BASE)) == json.dumps(EXPECTED[name])
