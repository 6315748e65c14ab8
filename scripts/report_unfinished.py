"""Write the tables and the report of a run that has failed, with what is there; the Snakefile calls it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slidemill.cohort import CohortTables, write_cohort
from slidemill.report import Pictures, render
from slidemill.tables import read_table
from slidemill.unfinished import is_told, results_so_far, stages_of
from slidemill.versions import this_run

PICTURES = ("overlay", "montage")


def main(results: Path, known: Mapping[str, Any]) -> None:
    """Publish the tables and the report in `results`, unless the run has written them itself.

    `known` holds the slides' paths by id (``slides``), ``backends``, the report's ``parameters`` and the ``command``,
    and whether the run was to write a ``report``.
    """
    backends, parameters = known["backends"], known["parameters"]
    made = [results / path for slide in known["slides"] for _, path, _ in stages_of(slide, backends)]
    figures = [results / f"figures/{kind}/{slide}.jpg" for slide in known["slides"] for kind in PICTURES]
    page = results / "report.html"
    if is_told(results / "slides.csv", made) and (not known["report"] or is_told(page, [*made, *figures])):
        return
    slides = [results_so_far(results, slide, path, backends) for slide, path in known["slides"].items()]
    names = ("slides", "metadata", "unreadable", "validation")
    tables = CohortTables(**{name: results / f"{name}.csv" for name in names})
    write_cohort(slides, parameters["unreadable_patches"] == "skip", tables)
    rows = list(read_table(tables.slides))
    waiting = sum(row["status"] == "failed" for row in rows)
    print(
        f"slidemill: this run did not finish: {waiting} of {len(rows)} slides failed or wait for the next run", end=""
    )
    if not known["report"]:
        print(f"; {tables.slides.resolve()} tells which and why")
        return
    labelled = [outcome for one in slides for outcome in one.later if outcome.stage == "write_metadata"]
    pictures = {
        one.facts.slide: Pictures(overlay, montage)
        for one in slides
        for overlay, montage in [[results / f"figures/{kind}/{one.facts.slide}.jpg" for kind in PICTURES]]
        if overlay.exists() and montage.exists()
    }
    validation, unreadable = list(read_table(tables.validation)), list(read_table(tables.unreadable))
    labels, run = parameters["labels"]["map"], this_run(parameters, known["command"])
    render(page, rows, validation, [], labelled, labels, None, pictures, run, unreadable, finished=False)
    print(f"; {page.resolve()} tells which and why")


if __name__ == "__main__":
    try:
        main(Path.cwd(), json.load(sys.stdin))
    except Exception as error:  # the run's own failure is what matters, and has been told
        sys.exit(f"slidemill: the report of what there is cannot be written ({error})")
