"""The tables of a slide's patches, and their seals."""

from slidemill.core.csv_tables import read_table
from slidemill.core.outcomes import find_seal, read_outcome
from slidemill.core.seals import Seal
from tests.faults.conftest import Cohort


def test_seals_count_the_rows_of_both_tables(tmp_path):
    cohort = Cohort(tmp_path)
    cohort.add("good.svs")
    cohort.config["tissue"] = {"method": "otsu", "min_fraction": 0.9}
    (one,) = cohort.plan()
    cohort.discover(one)
    cohort.sample(one)
    outcome = read_outcome(cohort.place("outcomes/sample_patches", one.slide))
    counts = {}
    for name in ("patches", "dropped"):
        table = cohort.place(name, one.slide, "csv")
        counts[name] = len(list(read_table(table)))
        assert find_seal([outcome], name) == Seal.of(table, counts[name])
    assert sum(counts.values()) == 12
    assert counts["dropped"]
