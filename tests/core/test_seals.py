"""Tables and outcomes tell their own damage, to whoever reads them and to `slidemill verify`."""

import json
import random
import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from slidemill import open_dataset, open_store, read_metadata, read_splits
from slidemill.cli.commands import main
from slidemill.core.csv_tables import read_table, write_table
from slidemill.core.encodings import digest
from slidemill.core.files import write_json
from slidemill.core.outcomes import Outcome, add_seals, find_seal, read_outcome, write_outcome
from slidemill.core.parquet import read_parquet
from slidemill.core.results_layout import COHORT_SEALS, FOLDERS, PLAN, SPLITS_SEAL, SUFFIXES, store_path
from slidemill.core.seals import Seal, read_cohort_seal, read_sealed, read_seals, seal_tables, write_sealed
from slidemill.core.stage_facts import SampleFacts
from slidemill.datasets.folds import SlideFold, Splits
from slidemill.errors import MachineError, SlidemillError
from slidemill.runs.job_settings import (
    FOREIGN,
    STAGES,
    check_cohort_settings,
    cohort_digest,
    outcome_file,
    with_settings,
)
from tests.results import FINGERPRINT, PATCHES, SIZE, write_slide, write_tables

pytestmark = pytest.mark.cases

SLIDES = ("one", "two")
COHORT = ("slides.csv", "metadata.csv", "metadata.parquet", "stores.csv", "splits.csv")
READ = (*COHORT, COHORT_SEALS, SPLITS_SEAL)
OF_A_SLIDE = (
    *("patches/one.csv", "dropped/one.csv", "metadata/one.csv", "validation/one.csv", "slides/one.json"),
    *(f"outcomes/{stage}/one.json" for stage in ("sample_patches", "write_metadata", "validate_stores")),
    *(f"outcomes/store_patches/{backend}/one.json" for backend in SUFFIXES),
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Whole results of two slides with folds."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    generator = random.Random(1)
    for slide in SLIDES:
        write_slide(folder, slide, noise_of(generator))
    write_tables(folder, dict.fromkeys(SLIDES, "ok"))
    folds = [SlideFold(slide, FINGERPRINT, slide, fold, len(PATCHES)) for fold, slide in enumerate(SLIDES)]
    Splits("slide", None, 0, folds).save(folder / "splits.csv")
    seal_tables(folder, {"splits.csv": len(SLIDES)}, SPLITS_SEAL)
    return folder


def noise_of(generator):
    return np.frombuffer(generator.randbytes(len(PATCHES) * SIZE * SIZE * 3), np.uint8).reshape(-1, SIZE, SIZE, 3)


@pytest.fixture
def results(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "results")


def flip(path, place, bit):
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(data)


def tried(read):
    try:
        return read()
    except Exception as error:
        return f"raised {type(error).__name__}"


def stored(results, backend):
    def read(slide):
        with open_store(results / store_path(backend, slide)) as store:
            return [store.manifest.content, *((one, digest(store.read(one))) for one in store.ids)]

    return [tried(lambda slide=slide: read(slide)) for slide in SLIDES]


def opened(results):
    with open_dataset(results) as dataset:
        known = (dict(dataset.fingerprints), dict(dataset.classes), dict(dataset.stored.pool.contents))
        return dataset.table.to_csv(), *known, dataset.backend


def gotten(results, path):
    """What the readers that read the file at `path` get of it."""
    parts = path.relative_to(results).parts
    if parts[0] == "stores":
        return stored(results, parts[1])
    return (
        tried(lambda: opened(results)),
        tried(lambda: read_metadata(results).to_csv()),
        tried(lambda: [asdict(row) for row in read_splits(results / "splits.csv").slides]),
    )


def verified(results, capsys):
    """The exit code of verify, and the lines that it prints."""
    capsys.readouterr()
    code = main(["verify", str(results), "--jobs", "1"])
    return code, capsys.readouterr().out.splitlines()


def flips(results, capsys, count, seed):
    """Flip `count` bits, one after the other, and return those that changed what a reader got and were not named."""
    draw = random.Random(seed)
    files = [results / name for name in READ]
    files += [
        file for slide in SLIDES for backend in SUFFIXES for file in files_of(results / store_path(backend, slide))
    ]
    before = {path: gotten(results, path) for path in files}
    missed, changing = [], 0
    for _ in range(count):
        path = draw.choice(files)
        data = path.read_bytes()
        place, bit = draw.randrange(len(data)), draw.randrange(8)
        flip(path, place, bit)
        if tried(lambda path=path: gotten(results, path)) != before[path]:
            changing += 1
            code, lines = verified(results, capsys)
            store = path.parent if path.parent.parent.name in FOLDERS else path
            named = [line for line in lines if line.startswith((f"{path}: ", f"{store}: "))]
            if code != 1 or not named or not all("remove it and run again" in line for line in named):
                missed.append((path.name, place, bit, lines))
        path.write_bytes(data)
    assert changing > count // 4
    return missed


def files_of(path):
    return sorted(path.iterdir()) if path.is_dir() else [path]


@pytest.mark.long
def test_verify_names_flipped_bits_that_readers_see(results, capsys):
    assert verified(results, capsys)[0] == 0
    assert flips(results, capsys, 60, seed=1) == []


@pytest.mark.parametrize(
    "count", [pytest.param(100, marks=pytest.mark.long), pytest.param(1000, marks=pytest.mark.torture)]
)
def test_verify_names_many_flipped_bits(results, capsys, count):
    assert flips(results, capsys, count, seed=2) == []


@pytest.mark.parametrize(
    "name",
    [*READ, "unreadable.csv", "validation.csv", *(pytest.param(one, marks=pytest.mark.long) for one in OF_A_SLIDE)],
)
def test_verify_names_one_file_for_any_bit(results, capsys, name):
    """Every table and outcome; and no other file is named for removal."""
    draw = random.Random(name)
    data = (results / name).read_bytes()
    for place in (0, len(data) - 1, *(draw.randrange(len(data)) for _ in range(3))):
        flip(results / name, place, draw.randrange(8))
        code, lines = verified(results, capsys)
        assert code == 1, (place, lines)
        *named, last = lines
        assert named
        assert all(line.startswith(f"{results / name}: ") for line in named)
        assert all("remove it and run again" in line for line in named)
        assert "1 table or outcome is not intact" in last
        (results / name).write_bytes(data)


@pytest.mark.parametrize("name", ["stores.csv", "splits.csv", "metadata.csv", *OF_A_SLIDE])
def test_verify_misses_a_file_that_is_gone(results, capsys, name):
    (results / name).unlink()
    code, lines = verified(results, capsys)
    assert code == 1
    assert f"{results / name}: is missing; run again" in lines


def rewritten(results, name, old, new):
    """Change a slide's table and seal it anew, as another run would leave it."""
    table, stage = results / f"{name}/one.csv", {"metadata": "write_metadata"}.get(name, "sample_patches")
    text = table.read_text().replace(old, new)
    table.write_text(text)
    path = results / f"outcomes/{stage}/one.json"
    write_outcome(path, add_seals(read_outcome(path), **{name: Seal.of(table, text.count("\n") - 1)}))


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        ("metadata", ",0,Normal,", ",1,Normal,", "metadata.csv: its rows of one are not those of metadata/one.csv"),
        (
            "metadata",
            "r00000_c00001,one,1,0,16,",
            "r00000_c00001,one,1,0,17,",
            "r00000_c00001 is not what patches/one.csv",
        ),
        ("metadata", "r00001_c00002,one", "r00001_c00002,two", "r00001_c00002 is not what patches/one.csv"),
        ("patches", ",1,0,16,", ",1,0,17,", "outcomes/write_metadata/one.json: was made of other patches"),
    ],
)
def test_verify_holds_tables_against_each_other(results, capsys, name, old, new, words):
    """Sealed tables of two runs that do not fit."""
    rewritten(results, name, old, new)
    code, lines = verified(results, capsys)
    assert code == 1
    assert any(words in line and "remove it and run again" in line for line in lines)


def test_verify_holds_places_against_the_grid(results, capsys):
    """All tables and outcomes agree on a patch that lies elsewhere."""
    for name in ("patches", "metadata"):
        rewritten(results, name, "r00000_c00001,one,1,0,16,", "r00000_c00001,one,1,0,17,")
    patches = find_seal([read_outcome(results / "outcomes/sample_patches/one.json")], "patches")
    for path in results.glob("outcomes/*/**/one.json"):
        if "validate_stores" not in path.parts:
            write_outcome(path, add_seals(read_outcome(path), patches=patches))
    code, lines = verified(results, capsys)
    assert code == 1
    assert f"{results}/patches/one.csv: r00000_c00001 is not where the grid has it: remove it and run again" in lines


def test_verify_holds_stores_against_stores_csv(results, capsys):
    """Another store than the table has, whole by itself."""
    path = results / store_path("lmdb", "two")
    path.write_bytes((results / store_path("lmdb", "one")).read_bytes())
    code, lines = verified(results, capsys)
    assert code == 1
    assert f"{path}: content: it is another store than stores.csv has; remove it and run again" in lines


def as_by_an_earlier_version(path):
    """Write an outcome again as earlier versions did, without digests."""
    outcome = read_outcome(path).to_json()
    outcome["details"].pop("tables", None)
    path.write_text(json.dumps(outcome, indent=1))


def test_verify_says_what_earlier_versions_left(results, capsys):
    for path in results.glob("*.seal.json"):
        path.unlink()
    for path in (*results.glob("slides/*.json"), *results.glob("outcomes/**/*.json")):
        as_by_an_earlier_version(path)
    assert main(["verify", str(results)]) == 0
    said = capsys.readouterr()
    assert "tables and outcomes cannot be checked, because the digest is missing" in said.err
    assert "an earlier version wrote none, or it was removed; run again to write it" in said.err


def test_verify_knows_removed_seals(results, capsys):
    """The outcomes tell that the version which wrote the tables wrote digests."""
    (results / COHORT_SEALS).unlink()
    assert main(["verify", str(results)]) == 1
    assert f"{results / COHORT_SEALS}: is missing" in capsys.readouterr().out


def test_verify_knows_a_removed_seal_of_an_outcome(results, capsys):
    path = results / "outcomes/sample_patches/one.json"
    path.write_text(json.dumps(read_outcome(path).to_json(), indent=1))
    assert main(["verify", str(results)]) == 1
    assert f"{path}: has lost its digest: remove it and run again" in capsys.readouterr().out


def with_the_settings(results, settings):
    """Write the settings into all outcomes of the slides, the plan and the cohort's seals, as a run does."""
    stores = {f"store_patches/{backend}": "sample_patches" for backend in SUFFIXES}
    for slide in SLIDES:
        for stage, last in (dict(zip(STAGES, STAGES, strict=True)) | stores).items():
            path = results / outcome_file(stage, slide)
            outcome = read_outcome(path)
            for one in STAGES[: STAGES.index(last) + 1]:
                outcome = with_settings(outcome, one, settings[one])
            write_outcome(path, outcome)
    value, _ = read_sealed(results / COHORT_SEALS)
    every = dict.fromkeys(SLIDES, settings)
    write_sealed(results / COHORT_SEALS, value | {"settings": cohort_digest(every)})
    write_json(results / PLAN, {"backends": list(SUFFIXES), "slides": [], "settings": every})


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_verify_knows_outcomes_of_other_settings(results, capsys, stage):
    with_the_settings(results, {one: one[0] * 32 for one in STAGES})
    assert main(["verify", str(results)]) == 0, capsys.readouterr().out
    path = results / outcome_file(stage, "one")
    write_outcome(path, with_settings(read_outcome(path), stage, "0" * 32))
    assert main(["verify", str(results)]) == 1
    assert f"{path}: {FOREIGN}" in capsys.readouterr().out.splitlines()
    # Of a plan that is not that of these tables, nothing is known.
    write_json(results / PLAN, {"backends": [], "slides": [], "settings": {slide: {} for slide in SLIDES}})
    assert main(["verify", str(results)]) == 0


@pytest.mark.parametrize("stage", [*STAGES, "store_patches/lmdb"])
def test_gathering_names_the_first_outcome_of_other_settings(results, stage):
    settings = {one: one[0] * 32 for one in STAGES}
    with_the_settings(results, settings)
    # What comes after it has its digests, as jobs pass them on.
    read = ("write_metadata", "store_patches/lmdb")
    names = {*STAGES[STAGES.index(stage) :], *read[1:]} if stage in STAGES else {stage}
    for name in names - ({read[1]} if stage == read[0] else set()):
        path = results / outcome_file(name, "one")
        changed = stage if stage in STAGES else "sample_patches"
        write_outcome(path, with_settings(read_outcome(path), changed, "0" * 32))
    made = {name: read_outcome(results / outcome_file(name, "one")) for name in read}
    with pytest.raises(SlidemillError, match=f"^{outcome_file(stage, 'one')}: was made with other settings"):
        check_cohort_settings(results, {"one": made}, {"one": settings})
    check_cohort_settings(results, {"one": made}, {})


def test_readers_refuse_a_damaged_table(results):
    for name, read in (
        ("metadata.parquet", lambda: open_dataset(results)),
        ("stores.csv", lambda: open_dataset(results)),
        ("slides.csv", lambda: open_dataset(results)),
        ("metadata.csv", lambda: read_metadata(results)),
        ("splits.csv", lambda: read_splits(results / "splits.csv")),
        ("metadata/one.csv", lambda: read_metadata(results / "metadata/one.csv")),
    ):
        data = (results / name).read_bytes()
        flip(results / name, len(data) // 2, 0)
        with pytest.raises(SlidemillError, match=rf"{name}: is not what was written .*; remove it and run again"):
            read()
        (results / name).write_bytes(data)
        read()


def test_pages_of_the_parquet_have_checksums(whole, tmp_path):
    """Checked though there is no seal beside the file."""
    path = tmp_path / "metadata.parquet"
    data = (whole / "metadata.parquet").read_bytes()
    column = pq.ParquetFile(whole / "metadata.parquet").metadata.row_group(0).column(4)
    end = (
        column.data_page_offset
        + column.total_compressed_size
        - (column.data_page_offset - column.dictionary_page_offset)
    )
    path.write_bytes(data)
    flip(path, end - 1, 0)
    with pytest.raises(SlidemillError, match=r"metadata\.parquet: cannot be read as a table"):
        read_parquet(path)
    assert isinstance(pq.read_table(whole / "metadata.parquet", page_checksum_verification=True), pa.Table)


def test_outcome_of_an_earlier_version_is_read(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"slide": "one", "stage": "sample_patches", "status": "ok", "message": "", "details": {}}')
    assert read_outcome(path) == Outcome("one", "sample_patches")
    assert find_seal([read_outcome(path)], "patches") is None


def test_outcome_with_a_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "one.json"
    write_outcome(
        path, Outcome("one", "sample_patches", sample=SampleFacts(grid=12, patches=12), slide_notes=["ä", '"seal": "'])
    )
    data = path.read_bytes()
    assert read_outcome(path).sample.patches == 12
    for place in range(len(data)):
        flip(path, place, place % 8)
        with pytest.raises(SlidemillError, match="remove it and run again"):
            read_outcome(path)
        path.write_bytes(data)


def test_seal_finds_missing_rows(tmp_path):
    path = tmp_path / "t.csv"
    seal = Seal.of(path, write_table(path, ("a",), [{"a": place} for place in range(9)]))
    assert [row["a"] for row in read_table(path, seal=seal)] == list("012345678")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-2]))
    rows = read_table(path, seal=seal)
    with pytest.raises(
        SlidemillError, match=r"t\.csv: is not what was written \(9 rows\): .*; remove it and run again"
    ):
        next(rows)


def test_saved_splits_take_the_place_of_a_runs(results):
    splits = read_splits(results / "splits.csv")
    before = read_cohort_seal(results / "splits.csv")
    type(splits)(splits.by, splits.stratify, 7, splits.slides).save(results / "splits.csv")
    assert read_splits(results / "splits.csv").seed == 7
    assert read_cohort_seal(results / "splits.csv") != before


def test_seals_that_are_damaged_are_refused(results):
    (results / COHORT_SEALS).write_text("{}")
    with pytest.raises(SlidemillError, match="holds no seals of tables: it is damaged; remove it and run again"):
        read_seals(results / COHORT_SEALS)


def test_metadata_without_memory_is_not_called_wrong(results, monkeypatch):
    """Pandas hides in a parser's error that it got no memory to read with."""
    real = pd.read_csv

    def cramped(path, **options):
        if "nrows" in options:
            return real(path, **options)
        raise pd.errors.ParserError("Error tokenizing data. C error: Calling read(nbytes) on source failed.")

    monkeypatch.setattr(pd, "read_csv", cramped)
    monkeypatch.setattr("slidemill.errors._has_memory", lambda subject: False)
    with pytest.raises(MachineError, match=r"metadata\.csv: Cannot allocate memory: free memory"):
        read_metadata(results)
