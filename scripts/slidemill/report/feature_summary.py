"""Summarize the features of a run: a row for each model, and a plot of its first two principal components."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.csv_tables import read_cohort_table
from slidemill.core.results_layout import feature_file
from slidemill.errors import StoreError
from slidemill.features.feature_file import open_features
from slidemill.report._palette import label_colour
from slidemill.report.plots import as_svg, inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTTED = 2000
"""Most patches of a plot, spread evenly over those of all slides."""

Rows = Sequence[Mapping[str, str]]
Point = tuple[str, str]
"""A slide and the id of a patch."""


@dataclass(frozen=True, slots=True)
class FeatureSummary:
    """The features of one model.

    Parameters
    ----------
    name, model
        As the configuration has them.
    slides, rows, dim
        Numbers of slides with patches, of their patches, and of values for each patch.
    rate
        Patches per second, reading included.
    devices, transform
        The devices that computed, and how pixels become the model's input.
    plot
        The plot as SVG; empty for fewer than three patches.
    """

    name: str
    model: str
    slides: int
    rows: int
    dim: int
    rate: float
    devices: str
    transform: str
    plot: str


def summarize_features(table: Path, metadata: Path, label_map: Mapping[str, int]) -> list[FeatureSummary]:
    """Return a summary for each model, in the order of the table.

    Parameters
    ----------
    table, metadata
        The tables of features and of patches, in the results folder.
    label_map
        Names of labels to integers, for their colours.

    Raises
    ------
    SlidemillError
        When a table or a file of features is damaged, also where this ends the process that reads it.
    """
    by_model: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in read_cohort_table(table):
        by_model[row["name"]].append(row)
    # One flipped byte in the structure of an HDF5 file can end the process that reads it.
    with ChildProcess() as process:
        points = {name: _sample_in(process, table.parent, name, rows=rows) for name, rows in by_model.items()}
    wanted = {place for places, _ in points.values() for place in places}
    names: dict[Point, str] = {}
    for row in read_cohort_table(metadata) if wanted else ():
        if (place := (row["slide"], row["patch_id"])) in wanted:
            names[place] = row["label_name"]
    found = []
    for name, rows in by_model.items():
        own = [row for row in rows if int(row["rows"])]
        count, seconds = sum(int(row["rows"]) for row in own), sum(float(row["seconds"] or 0) for row in own)
        places, values = points[name]
        plot = ""
        if len(places) > 2:
            labels = [names.get(place, "(failed slide)") for place in places]
            figure = as_svg(projection_figure(principal_components(values), labels, label_map))
            plot = inline_svg(figure, f"The first two principal components of the features {name}, coloured by label")
        found.append(
            FeatureSummary(
                name=name,
                model=rows[0]["model"],
                slides=len(own),
                rows=count,
                dim=max((int(row["dim"]) for row in own), default=0),
                rate=count / seconds if seconds else 0.0,
                devices=_join_texts(row["device"] for row in own),
                transform=_join_texts(row["transform"] for row in own),
                plot=plot,
            )
        )
    return found


def _sample_in(
    process: ChildProcess, results: Path, name: str, *, rows: Rows
) -> tuple[list[Point], npt.NDArray[np.float64]]:
    try:
        return process.call(_sample_rows, results, name, rows)
    except ChildCrashedError as error:
        folder = (results / feature_file(name, rows[0]["slide"])).parent
        raise StoreError(
            f"{folder}: a damaged file has ended the process that read it ({error}): slidemill verify names the file; "
            "remove it, and run again"
        ) from None


def _sample_rows(
    results: Path, name: str, rows: Sequence[Mapping[str, str]]
) -> tuple[list[Point], npt.NDArray[np.float64]]:
    """Return patches spread evenly over all slides, and their features, ``(n, dim)``."""
    total = sum(int(row["rows"]) for row in rows)
    step, skipped = max(-(-total // PLOTTED), 1), 0
    places: list[Point] = []
    parts = []
    for row in (row for row in rows if int(row["rows"])):
        file = open_features(results / feature_file(name, row["slide"]))
        chosen = range(-skipped % step, len(file), step)
        skipped += len(file)
        places += [(row["slide"], file.patch_ids[place]) for place in chosen]
        parts.append(np.asarray(file.features()[list(chosen)], np.float64))
    return places, np.concatenate(parts) if parts else np.empty((0, 0))


def principal_components(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the first two principal components of rows, ``(n, 2)``.

    The sign of each is chosen such that its largest weight is positive, so that equal features give equal plots.
    """
    centred = values - values.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    first = np.zeros((2, values.shape[1]))
    first[: len(directions[:2])] = directions[:2]
    largest = first[np.arange(2), np.abs(first).argmax(axis=1)]
    projected: npt.NDArray[np.float64] = centred @ (first * np.where(largest < 0, -1, 1)[:, None]).T
    return projected


def projection_figure(points: npt.NDArray[np.float64], labels: Sequence[str], label_map: Mapping[str, int]) -> Figure:
    """Plot points ``(n, 2)`` in the colours of their labels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.2), layout="constrained")
    panel = figure.subplots()
    of_point = np.array(labels)
    for name in sorted(set(labels), key=lambda one: (label_map.get(one, len(label_map)), one)):
        own = points[of_point == name]
        panel.scatter(own[:, 0], own[:, 1], s=9, linewidths=0, color=label_colour(label_map.get(name, -1)), label=name)
    panel.set_xlabel("first principal component", fontsize=9)
    panel.set_ylabel("second", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def _join_texts(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(filter(None, texts)))
