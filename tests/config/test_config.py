"""The configuration: its defaults, its faults, and that schema, config.yaml and README agree."""

import math
import re
from collections import OrderedDict
from itertools import pairwise
from pathlib import Path

import jsonschema
import pytest
import yaml

from slidemill.config.configuration import Config, read_config
from slidemill.config.reference import json_schema
from slidemill.core.specs import (
    OUTSIDE,
    BenchmarkSpec,
    GridSpec,
    LabelSpec,
    SplitSpec,
    StoreSpec,
    TissueSpec,
    ValidationSpec,
)
from slidemill.errors import ConfigError

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))
CONFIG_FILE = ROOT / "config/config.yaml"
BASE = Path("/cohort")
SECTIONS = ["sampling", "labels", "stores", "validation", "benchmark"]


def read(**values):
    return read_config({"slides": "slides", "results": "results"} | values, BASE)


def faults(values):
    with pytest.raises(ConfigError) as caught:
        read_config(values, BASE)
    return str(caught.value)


def fault(**values):
    return faults({"slides": "slides", "results": "results"} | values)


def schema_keys(schema=SCHEMA, prefix=""):
    """Yield the dotted name and the schema of every key, sections before what is in them."""
    for name, own in schema.get("properties", {}).items():
        yield prefix + name, own
        yield from schema_keys(own, f"{prefix}{name}.")


KEYS = dict(schema_keys())


def test_slides_and_results_alone_give_the_defaults():
    assert read() == Config(
        slides=BASE / "slides",
        annotations=None,
        results=BASE / "results",
        sampling=GridSpec(256, 0, None, 0, True, "drop"),
        assume_mpp=None,
        max_patches=50_000_000,
        tissue=TissueSpec("otsu", 0.1, None),
        tissue_masks=None,
        labels=LabelSpec({"Normal": 0}, "centre", "Normal"),
        reader="auto",
        icc="ignore",
        unreadable_patches="fail",
        max_failed=0,
        scratch=None,
        stores={"lmdb": StoreSpec("zstd")},
        validation=ValidationSpec(64, 30),
        benchmark=BenchmarkSpec(256, 3, 120),
        seed=0,
    )


def test_tissue_keys_are_read():
    base = {"slides": "slides", "results": "results"}
    given = {"method": "otsu", "pens": "keep", "masks": "masks", "mask_values": [1, 2]}
    assert read(**base, tissue=given).tissue == TissueSpec("otsu", 0.1, None, "keep", [1, 2])
    assert read(**base).tissue.pens == "auto"


@pytest.mark.parametrize(
    ("tissue", "words"),
    [
        ({"pens": "drop"}, "tissue.pens is 'drop', not one of"),
        ({"masks": "m", "mask_values": [0]}, "tissue.mask_values.0 is 0, not 1 or more"),
        ({"masks": "m", "mask_values": 1}, "tissue.mask_values is 1, not a list"),
        ({"masks": "m", "mask_values": []}, "tissue.mask_values is []"),
        ({"mask_values": [1]}, "tissue.mask_values is [1], and no masks are configured"),
    ],
)
def test_wrong_tissue_keys_are_refused(tissue, words):
    assert words in faults({"slides": "slides", "results": "results", "tissue": tissue})


def test_a_sheet_lists_masks_of_tissue_itself():
    told = faults({"slides": "sheet.csv", "results": "results", "tissue": {"masks": "masks"}})
    assert told == "tissue.masks is masks: a sheet lists them itself: use its column 'tissue_mask', and null here"


def test_a_section_given_in_part_is_completed():
    config = read(sampling={"patch_size": 512}, labels={"rule": "top_left"}, benchmark={"repeats": 1})
    assert config.sampling == GridSpec(512, 0, None, 0, True, "drop")
    assert config.labels == LabelSpec({"Normal": 0}, "top_left", "Normal")
    assert config.benchmark == BenchmarkSpec(256, 1, 120)


def test_labels_by_area_have_a_least_fraction():
    assert read(labels={"rule": "area"}).labels == LabelSpec({"Normal": 0}, "area", "Normal", 0.5, "file")
    given = {"rule": "area", "min_fraction": 1, "overlap": "smallest"}
    assert read(labels=given).labels == LabelSpec({"Normal": 0}, "area", "Normal", 1, "smallest")


def test_slides_are_parted_where_somebody_asks_for_it():
    assert read().splits is None
    assert read(splits=None).splits is None
    assert read(splits={}).splits == SplitSpec(5, "slide", "label")
    given = {"folds": 3, "by": "patient", "stratify": None}
    assert read(splits=given).splits == SplitSpec(3, "patient", None)
    assert read(splits={"stratify": "diagnosis"}).splits == SplitSpec(5, "slide", "diagnosis")


def test_a_deepzoom_level_takes_the_place_of_the_native_level():
    assert read(sampling={"deepzoom_level": 12}).sampling == GridSpec(deepzoom_level=12, level=None)


@pytest.mark.parametrize("resolution", [{"mpp": 0.5}, {"magnification": 20}])
def test_resolutions_are_shrunk_by_area(resolution):
    """Unless the configuration names the filter of earlier versions, whose rules had no such parameter."""
    assert read(sampling=resolution).sampling.filter == "area"
    assert read(sampling=resolution).sampling.to_json()["filter"] == "area"
    earlier = read(sampling=resolution | {"filter": "lanczos"}).sampling
    assert earlier == GridSpec(**resolution)
    assert earlier.to_json().keys() == {*GridSpec.__slots__} - {"filter", "downsample", "is_free"}


@pytest.mark.parametrize("level", [{}, {"level": 1}, {"deepzoom_level": 12}])
def test_levels_keep_the_shrinking_of_openslide(level):
    spec = read(sampling=level).sampling
    assert spec.filter == "lanczos"
    assert "filter" not in spec.to_json()


def test_stores_are_the_users_alone():
    assert read(stores={"hdf5": {}}).stores == {"hdf5": StoreSpec("raw")}


def test_a_store_without_encoding_takes_that_of_its_backend():
    given = {"lmdb": {}, "hdf5": {}, "disk": {}, "tar": {}}
    expected = {"lmdb": "zstd", "hdf5": "raw", "disk": "png", "tar": "png"}
    assert {name: own.encoding for name, own in read(stores=given).stores.items()} == expected


def test_a_run_may_have_no_stores():
    assert read(stores={}).stores == {}


@pytest.mark.parametrize(("given", "expected"), [(False, None), (True, BenchmarkSpec(256, 3, 120))])
def test_the_benchmark_may_be_switched_off(given, expected):
    assert read(benchmark=given).benchmark == expected


@pytest.mark.parametrize(("given", "expected"), [(True, True), ("true", True), ("false", False), (False, False)])
def test_a_run_may_be_forced_on_the_command_line(given, expected):
    """Snakemake takes the value of ``--config force=true`` for a text."""
    assert read(force=given).force is expected


@pytest.mark.parametrize("values", [{"force": "yes"}, {"force": 1}, {"benchmark": None}, {"benchmark": "off"}])
def test_switches_take_only_true_and_false(values):
    with pytest.raises(ConfigError, match=f"^{next(iter(values))} is .*, not true or false"):
        read(**values)


def test_a_label_map_is_the_users_alone():
    assert read(labels={"map": {"Tumour": 1}, "outside": "Tumour"}).labels.map == {"Tumour": 1}


def test_patches_outside_may_have_no_label():
    labels = read(labels={"map": {"Tumour": 1}, "outside": None}).labels
    assert labels.outside == OUTSIDE
    assert OUTSIDE not in labels.map


def test_policies_of_labels_have_defaults():
    assert (read().unannotated, read().unmapped) == (None, "fail_if_most")
    config = read(labels={"unannotated": "skip", "unmapped": "ignore"})
    assert (config.unannotated, config.unmapped) == ("skip", "ignore")


@pytest.mark.parametrize("backend", ["lmdb", "hdf5", "disk", "tar"])
def test_jpeg_has_a_quality(backend):
    assert read(stores={backend: {"encoding": "jpeg"}}).stores == {backend: StoreSpec("jpeg", 90)}
    given = {backend: {"encoding": "jpeg", "quality": 75}}
    assert read(stores=given).stores == {backend: StoreSpec("jpeg", 75)}


def test_what_was_given_and_the_defaults_stay_as_they_were():
    values = {"slides": "a", "results": "b", "stores": {"lmdb": {}}, "labels": {}}
    before = yaml.safe_dump([values, json_schema()])
    read_config(values, BASE)
    assert yaml.safe_dump([values, json_schema()]) == before


def test_paths_start_at_the_base_unless_absolute():
    config = read(slides="../raw", annotations="/elsewhere/xml", results="out")
    assert (config.slides, config.annotations, config.results) == (
        Path("/raw"),
        Path("/elsewhere/xml"),
        BASE / "out",
    )


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.TSV"])
def test_the_paths_of_a_sheet_start_at_its_folder(name):
    config = read(slides=f"lists/{name}")
    assert config.root == config.annotations_root == BASE / "lists"


def test_the_paths_of_annotations_start_at_their_folder_or_at_the_slides():
    assert read(annotations="xml").annotations_root == BASE / "xml"
    assert read().annotations_root == read().root == BASE / "slides"


FAULTS = {
    "unknown key": ({"seeds": 3}, ["seeds is 3", "unknown key", "did you mean seed?"]),
    "unknown key in a section": (
        {"sampling": {"patchsize": 128}},
        ["sampling.patchsize is 128", "unknown key", "did you mean patch_size?"],
    ),
    "unknown key unlike any": (
        {"sampling": {"zoo": 1}},
        ["sampling.zoo is 1", "there are patch_size, overlap"],
    ),
    "wrong type": (
        {"sampling": {"patch_size": "big"}},
        ["sampling.patch_size is 'big'", "in pixels, 16 to 4096"],
    ),
    "truth for a number": ({"seed": True}, ["seed is True", "0 or more"]),
    "too small": ({"sampling": {"patch_size": 8}}, ["sampling.patch_size is 8", "16 to 4096"]),
    "too large": ({"sampling": {"patch_size": 5000}}, ["sampling.patch_size is 5000", "16 to 4096"]),
    "unknown choice": ({"sampling": {"edges": "crop"}}, ["sampling.edges is 'crop'", "drop", "pad"]),
    "one fold": ({"splits": {"folds": 1}}, ["splits.folds is 1, not 2 or more", "how many folds"]),
    "folds of no stratum": (
        {"splits": {"stratify": 3}},
        ["splits.stratify is 3, not text", "null balances only the number of patches"],
    ),
    "splits as a list": ({"splits": [5]}, ["splits is [5]", "folds, by, stratify"]),
    "a seed of splits": ({"splits": {"seed": 1}}, ["splits.seed is 1, an unknown key", "folds, by, stratify"]),
    "unknown rule": ({"labels": {"rule": "center"}}, ["labels.rule is 'center'", "centre or top_left"]),
    "least fraction without area": (
        {"labels": {"min_fraction": 0.3}},
        ["labels.min_fraction is 0.3", "labels.rule is centre", "leave it out, or choose area"],
    ),
    "only a label that the map lacks": (
        {"labels": {"map": {"Tumour": 1, "none": 0}, "outside": "none", "only": ["Tumour", "none", "Tumor"]}},
        ["labels.only names 'Tumor', which labels.map lacks (did you mean Tumour?)", "or name one of Tumour, none"],
    ),
    "outside a name that the map lacks": (
        {"labels": {"map": {"normal": 0, "Tumour": 1}}},
        ["labels.outside is 'Normal', which labels.map lacks (did you mean normal?)", "map it, or", "outside: null"],
    ),
    "outside the name of no label": (
        {"labels": {"map": {"(outside)": 0}, "outside": None}},
        ["labels.map names '(outside)'", "labels.outside is null", "leave this one out"],
    ),
    "only patches without a label": (
        {"labels": {"map": {"Tumour": 1}, "outside": None, "only": ["(outside)"]}},
        ["labels.only names '(outside)', which labels.map lacks", "name one of Tumour"],
    ),
    "unknown word for slides without annotation": (
        {"labels": {"unannotated": "normal"}},
        ["labels.unannotated is 'normal'", "outside, skip, fail"],
    ),
    "unknown word for names without label": (
        {"labels": {"unmapped": "warn"}},
        ["labels.unmapped is 'warn'", "fail_if_most, fail, ignore"],
    ),
    "only no label": (
        {"labels": {"only": []}},
        ["labels.only is []", "one at least"],
    ),
    "only a number": (
        {"labels": {"map": {"1": 1}, "only": [1]}},
        ["labels.only.0 is 1", "in quotes"],
    ),
    "least fraction of nothing": (
        {"labels": {"rule": "area", "min_fraction": 0}},
        ["labels.min_fraction is 0", "more"],
    ),
    "fraction of more": (
        {"labels": {"rule": "area", "min_fraction": 1.1}},
        ["labels.min_fraction is 1.1", "1 or less"],
    ),
    "unknown order": ({"labels": {"overlap": "largest"}}, ["labels.overlap is 'largest'", "file, smallest"]),
    "overlap too large": (
        {"sampling": {"patch_size": 64, "overlap": 32}},
        ["sampling.overlap is 32", "2 x overlap must be less than patch_size (64)"],
    ),
    "both levels": (
        {"sampling": {"level": 0, "deepzoom_level": 9}},
        ["sampling.deepzoom_level is 9", "sampling.level is 0", "give one of the two"],
    ),
    "a level and a resolution": (
        {"sampling": {"level": 0, "mpp": 0.5, "magnification": 20}},
        ["sampling.level is 0", "sampling.mpp is 0.5", "sampling.magnification is 20", "give one of the 3"],
    ),
    "a filter of a level": ({"sampling": {"filter": "area"}}, ["sampling.filter is area", "leave it out"]),
    "a filter of a DeepZoom level": (
        {"sampling": {"deepzoom_level": 9, "filter": "lanczos"}},
        ["sampling.filter is lanczos", "only patches by mpp or magnification"],
    ),
    "an unknown filter": ({"sampling": {"mpp": 1, "filter": "box"}}, ["sampling.filter is 'box'", "area, lanczos"]),
    "no resolution": ({"sampling": {"mpp": 0}}, ["sampling.mpp is 0", "more than 0"]),
    "large patches of a resolution": (
        {"sampling": {"mpp": 0.5, "patch_size": 2048}},
        ["sampling.patch_size is 2048", "by mpp", "choose no more"],
    ),
    "label below 0": ({"labels": {"map": {"Fold": -1}}}, ["labels.map.Fold is -1", "0 or more"]),
    "label a word": ({"labels": {"map": {"Fold": "one"}}}, ["labels.map.Fold is 'one'", "whole number"]),
    "unknown backend": ({"stores": {"n5": {}}}, ["stores.n5 is {}", "lmdb, hdf5, disk, tar"]),
    "misspelt backend": ({"stores": {"lmbd": {}}}, ["stores.lmbd is {}", "did you mean lmdb?"]),
    "stores left empty": (
        {"stores": None},
        ["stores is None, not a mapping", "lmdb, hdf5, disk, tar and zarr; {} writes none"],
    ),
    "unknown encoding": (
        {"stores": {"hdf5": {"encoding": "webp"}}},
        ["stores.hdf5.encoding is 'webp'", "raw, zstd, png, jpeg or source"],
    ),
    "source with an overlap": (
        {"stores": {"tar": {"encoding": "source"}}, "sampling": {"overlap": 3}},
        [
            "stores.tar.encoding is source",
            "sampling.overlap is 3",
            "give 0, or choose another encoding, or lmdb or",
        ],
    ),
    "source with padded edges": (
        {"stores": {"disk": {"encoding": "source"}}, "sampling": {"edges": "pad"}},
        ["stores.disk.encoding is source", "sampling.edges is pad", "give drop"],
    ),
    "source through OpenSlide": (
        {"stores": {"hdf5": {"encoding": "source"}}, "reader": "openslide"},
        ["stores.hdf5.encoding is source", "reader is openslide", "give auto or tiles"],
    ),
    "zstd in tar files": ({"stores": {"tar": {"encoding": "zstd"}}}, ["stores.tar.encoding is 'zstd'", "raw (.npy"]),
    "zstd in files": ({"stores": {"disk": {"encoding": "zstd"}}}, ["stores.disk.encoding is 'zstd'", "raw (.npy"]),
    "png in Zarr": ({"stores": {"zarr": {"encoding": "png"}}}, ["stores.zarr.encoding is 'png'", "raw or zstd"]),
    "tiles in Zarr": (
        {"stores": {"zarr": {"encoding": "source"}}},
        ["stores.zarr.encoding is 'source'", "raw or zstd"],
    ),
    "quality in Zarr": (
        {"stores": {"zarr": {"quality": 80}}},
        ["stores.zarr.quality is 80", "this is zstd: leave it out"],
    ),
    "unknown colours": ({"icc": "adobe"}, ["icc is 'adobe'", "ignore, srgb"]),
    "unknown reader": ({"reader": "cucim"}, ["reader is 'cucim'", "auto, openslide, tiles"]),
    "quality without jpeg": (
        {"stores": {"disk": {"quality": 80}}},
        ["stores.disk.quality is 80", "this is png", "leave it out, or choose jpeg"],
    ),
    "quality out of range": (
        {"stores": {"disk": {"encoding": "jpeg", "quality": 101}}},
        ["stores.disk.quality is 101", "1 to 100"],
    ),
    "results with braces": ({"results": "out/{slide}"}, ["results is ", "out/{slide}", "braces"]),
    "results with a line break at its end": (
        {"results": "out\n"},
        ["results is ", "out\\n", "choose"],
    ),
    "results are the slides": (
        {"results": "./slides"},
        ["results is /cohort/slides", "holds the slides", "choose another"],
    ),
    "annotations with a sheet": (
        {"slides": "list.csv", "annotations": "xml"},
        ["annotations is xml", "column 'annotation'", "null here"],
    ),
    "no name for the slides": ({"slides": ""}, ["slides is ''", "a folder of slides, or a sheet"]),
    "no time": ({"benchmark": {"time_limit": 0}}, ["benchmark.time_limit is 0", "more than 0"]),
}


@pytest.mark.parametrize(("values", "parts"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_key_value_and_remedy(values, parts):
    message = fault(**values)
    assert [part for part in parts if part not in message] == [], message
    assert len(message.splitlines()) == 1


def test_braces_in_the_folder_that_results_are_in_are_refused_too():
    with pytest.raises(ConfigError, match=r"results is .*/a\{b\}.* choose"):
        read_config({"slides": "slides", "results": "results"}, Path("/a{b}"))


@pytest.mark.parametrize("slides", ["slides", "slides.csv"])
def test_results_that_would_overwrite_the_slides_are_refused(slides):
    """The results hold a folder `slides` and a table `slides.csv` of their own."""
    assert "results is " in fault(slides=slides, results=".")


@pytest.mark.parametrize("missing", ["slides", "results"])
def test_slides_and_results_must_be_given(missing):
    values = {"slides": "slides", "results": "results"}
    del values[missing]
    message = faults(values)
    assert message == f"{missing} is missing: give {KEYS[missing]['description']}"


def test_several_faults_are_told_at_once():
    message = fault(sampling={"patch_size": "big", "lvel": 1}, stores={"n5": {}}, seed=-1)
    keys = [line.split(" is ")[0] for line in message.splitlines()]
    assert sorted(keys) == ["sampling.lvel", "sampling.patch_size", "seed", "stores.n5"]


def test_both_missing_keys_are_told_at_once():
    assert [line.split(" is ")[0] for line in faults({}).splitlines()] == ["slides", "results"]


def test_several_faults_beyond_the_schema_are_told_at_once():
    message = fault(
        sampling={"level": 1, "deepzoom_level": 3, "overlap": 200},
        stores={"lmdb": {"quality": 3}, "disk": {"quality": 4}},
        results="slides",
    )
    keys = {line.split(" is ")[0] for line in message.splitlines()}
    assert keys == {
        "sampling.deepzoom_level",
        "sampling.overlap",
        "stores.lmdb.quality",
        "stores.disk.quality",
        "results",
    }


def test_non_unicode_keys_hide_no_fault():
    message = fault(**{"\udc80": 1, "seed": -1, "sampling": {"\udc80": 2, "overlap": -1}, "reader": "\udc80"})
    keys = [line.split(" is ")[0] for line in message.splitlines()]
    assert keys == ["\udc80", "sampling.\udc80", "sampling.overlap", "reader", "seed"]


def test_non_unicode_file_names_are_accepted():
    config = read(slides="a\udc80", results="b\udc80", annotations="c\udc80")
    assert [path.name for path in (config.slides, config.results, config.annotations)] == [
        "a\udc80",
        "b\udc80",
        "c\udc80",
    ]


def test_ordered_mappings_are_accepted():
    """Snakemake reads JSON and YAML into ordered dictionaries."""
    given = OrderedDict(sampling=OrderedDict(level=1), labels=OrderedDict(map=OrderedDict(Normal=3)))
    assert read(**given) == read(sampling={"level": 1}, labels={"map": {"Normal": 3}})


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_left_empty_in_yaml_is_told_what_belongs_there(section):
    """`sampling:` with every line below it commented out is null."""
    message = fault(**{section: None})
    assert f"{section} is None" in message
    inside = [key.removeprefix(f"{section}.") for key in KEYS if key.startswith(f"{section}.")]
    assert "mapping" in message or any(key in message for key in inside), message


def test_whole_numbers_are_integers_whichever_way_they_are_written():
    """JSON Schema takes 256.0 for an integer; `range` does not."""
    try:
        size = read(sampling={"patch_size": 256.0}).sampling.patch_size
    except ConfigError as error:
        assert "sampling.patch_size is 256.0" in str(error)
    else:
        assert isinstance(size, int)


@pytest.mark.parametrize(("section", "key"), [("validation", "min_psnr"), ("benchmark", "time_limit")])
def test_nan_is_no_number(section, key):
    """YAML has .nan, and nothing is below it: every patch would be alike enough."""
    assert f"{section}.{key} is nan" in fault(**{section: {key: math.nan}})


def test_names_of_labels_that_yaml_takes_for_numbers_or_truths_still_match():
    """`1: 0` and `No: 1` have keys that are no strings, and would never equal an annotation's name."""
    try:
        label_map = read(labels={"map": yaml.safe_load("{1: 0, No: 1}")}).labels.map
    except ConfigError as error:
        assert "labels.map" in str(error)
    else:
        assert all(isinstance(name, str) for name in label_map)


def test_the_schema_is_a_schema_and_its_defaults_obey_it():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for schema in KEYS.values():
        if "default" in schema:
            jsonschema.validate(schema["default"], schema, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_described(key):
    assert KEYS[key].get("description", "").strip()


def test_config_yaml_is_what_a_short_configuration_means():
    """One set of defaults: what a configuration of two folders omits is what the file says, key by key."""
    given = yaml.safe_load(CONFIG_FILE.read_text(encoding="utf-8"))
    assert read_config(given, BASE) == read(slides=given["slides"], results=given["results"])
    optional = {name for name, schema in KEYS.items() if "default" in schema and "properties" not in schema}
    for name in optional - {"labels.min_fraction", "sampling.filter"}:
        inside = given
        for part in name.split("."):
            inside = inside.get(part, ...) if isinstance(inside, dict) else ...
        part_of_a_choice = name.startswith(("stores.", "splits.", "quality."))
        assert inside == KEYS[name]["default"] or (inside is ... and part_of_a_choice), name


def test_config_yaml_stays_readable():
    """Every line fits, sections are apart, and values stand alone on their lines."""
    lines = CONFIG_FILE.read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines)) <= 120
    assert all(before == "" or before.startswith("#") for before, line in pairwise(lines) if re.match(r"[a-z]", line))
    assert not [line for line in lines if "#" in line and not line.lstrip().startswith("#")]


def test_config_yaml_names_every_key():
    given = yaml.safe_load(CONFIG_FILE.read_text(encoding="utf-8"))
    comments = [line for line in CONFIG_FILE.read_text(encoding="utf-8").splitlines() if "#" in line]
    for key in KEYS:
        inside = given
        for part in key.split("."):
            inside = inside.get(part, {}) if isinstance(inside, dict) else {}
        name = key.rsplit(".", 1)[-1]
        assert inside != {} or any(name in line for line in comments), f"{key} is neither set nor in a comment"


def test_config_yaml_comments_every_key():
    """A comment stands above each key, or names it; that above `stores` is for all that is in it."""
    lines = CONFIG_FILE.read_text(encoding="utf-8").splitlines()
    comments = "\n".join(line for line in lines if line.lstrip().startswith("#"))
    above = {line.split(":")[0].strip(): before.lstrip() for before, line in pairwise(lines)}
    for key, schema in KEYS.items():
        name = key.rsplit(".", 1)[-1]
        section = "properties" in schema and key != "stores"
        commented = above.get(name, "").startswith("#") or f"`{name}`" in comments
        if key.startswith("stores."):
            commented = above["stores"].startswith("#") and (section or name in comments)
        assert section or commented, f"{key} has no comment"


def test_the_readme_explains_every_key():
    readme = (ROOT / "config/README.md").read_text(encoding="utf-8")
    names = {key: (f"`{key}`", f"`{key}.", f"`{key.rsplit('.', 1)[-1]}`") for key in KEYS}
    assert [key for key, either in names.items() if not any(name in readme for name in either)] == []


def test_results_below_a_file_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"results is .*: .*file is not a writable folder: choose another"):
        read_config({"slides": "slides", "results": str(tmp_path / "file" / "out")}, tmp_path)


def test_results_may_lie_above_slides_that_they_do_not_write_over(tmp_path):
    assert read_config({"slides": "data/raw", "results": "data"}, tmp_path).results == tmp_path / "data"


def test_patches_that_are_shrunk_may_not_be_read_larger_than_memory_allows():
    assert "sampling.patch_size is 2048" in fault(sampling={"patch_size": 2048, "deepzoom_level": 9})
    assert read(sampling={"patch_size": 4096, "level": 0}).sampling.patch_size == 4096


def test_one_label_alone_is_still_a_list():
    told = faults({"slides": "slides", "results": "results", "labels": {"only": "Normal"}})
    assert told.startswith("labels.only is 'Normal', not a list, such as [a, b] or null: the names of the labels")
    assert read(labels={"only": None}).labels.only is None


def test_names_of_the_map_in_two_unicode_forms_are_refused():
    with pytest.raises(ConfigError, match=r"labels\.map names 'Ä' twice, in two forms of Unicode"):
        read(labels={"map": {"\u00c4": 0, "A\u0308": 1}})


def test_names_of_the_map_that_differ_by_blanks_are_refused():
    with pytest.raises(ConfigError, match=r"labels\.map names 'Normal' twice, .* or with outer blanks"):
        read(labels={"map": {"Normal": 0, " Normal": 1}})


@pytest.mark.parametrize("labels", [{"map": {"Normal": 0, " ": 1}}, {"unnamed": "\t"}])
def test_names_of_blanks_are_refused(labels):
    with pytest.raises(ConfigError, match="holds blanks only"):
        read(labels=labels)


def test_names_of_labels_are_taken_in_nfc():
    labels = read(
        labels={"map": {"A\u0308": 1, "\u00d6": 0}, "outside": "O\u0308", "only": ["\u00c4", "\u00d6"]}
    ).labels
    assert (labels.map, labels.outside, labels.only) == ({"\u00c4": 1, "\u00d6": 0}, "\u00d6", ["\u00c4", "\u00d6"])


def test_origins_and_names_of_regions_are_read():
    config = read(labels={"origin": "canvas", "unnamed": "A", "property": "label"}, tissue={"mask_origin": "bounds"})
    assert (config.labels.origin, config.labels.unnamed, config.labels.property) == ("canvas", "A", "label")
    assert config.tissue.mask_origin == "bounds"
    assert (read().labels.origin, read().labels.unnamed, read().tissue.mask_origin) == (None, None, None)


def test_models_whose_input_or_folder_cannot_be_are_refused():
    """Pixels are divided by std; and on some disks, one folder would hold the features of both."""
    model = {"model": "timm:resnet50", "weights": "hub"}
    said = fault(features={"uni": model | {"std": [0, 1, 1]}})
    assert "features.uni.std.0 is 0, not more than 0: a number above 0" in said
    said = fault(features={"uni": model, "UNI": model})
    assert "features has uni and UNI, one folder where letter case does not count: rename one" in said


def test_weights_are_a_file_or_hub():
    """A library's model without the key is refused, so that nothing is downloaded by mistake."""
    said = fault(features={"uni": {"model": "timm:resnet50"}})
    assert (
        "features.uni.weights is missing: give the file of the weights of timm:resnet50, or hub, which downloads them"
        in said
    )
    assert read(features={"uni": {"model": "timm:resnet50", "weights": "hub"}}).features["uni"].weights == "hub"
