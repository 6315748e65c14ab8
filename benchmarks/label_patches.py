"""How long labels take by each rule: ``python -m benchmarks.label_patches``.

100,000 patches of 256 px against 1,000 regions of 1,000 vertices each, rough outlines of random places, on one core;
and what the audit of 20,000 of them adds.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from shapely.geometry import MultiPolygon, Polygon

from slidemill.annotations.regions import Annotation, Region
from slidemill.core.specs import LabelSpec
from slidemill.sampling._label_counts import LabelCounts
from slidemill.sampling.label_audit import collect_audited, label_audit
from slidemill.sampling.labelled_table import Labelling, label_blocks

PATCH, ACROSS, PATCHES, REGIONS, VERTICES = 256, 317, 100_000, 1_000, 1_000
NAMES = ("Benign", "Tumour", "Stroma", "Fold")
ROUNDS = 3


def outline(place: np.random.Generator, radius: float) -> MultiPolygon:
    """Return a shape of five lobes with a rough outline."""
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    reach = radius * (1 + 0.15 * np.sin(5 * angles) + 0.02 * place.standard_normal(VERTICES))
    centre = place.uniform(0, PATCH * ACROSS, 2)
    return MultiPolygon([Polygon(centre + np.column_stack([np.cos(angles), np.sin(angles)]) * reach[:, None])])


def main() -> None:
    """Print a row of Markdown for each radius of the regions, rule and order."""
    rows = [
        {
            "patch_id": f"{place}",
            "x0": f"{place % ACROSS * PATCH}",
            "y0": f"{place // ACROSS * PATCH}",
            "width0": "256",
            "height0": "256",
        }
        for place in range(PATCHES)
    ]
    for radius in (800, 1_500, 3_000):
        place = np.random.default_rng(0)
        regions = [Region(NAMES[number % len(NAMES)], outline(place, radius)) for number in range(REGIONS)]
        for rule in ("centre", "top_left", "area"):
            for overlap in ("file", "smallest"):
                spec = LabelSpec({name: label for label, name in enumerate(NAMES)}, rule, "outside", overlap=overlap)
                seconds, audits, named = [], [], 0
                for _ in range(ROUNDS):
                    began, annotation = time.process_time(), Annotation(tuple(regions))
                    counts = LabelCounts(contested=None)
                    chosen: list[dict[str, Any]] = []
                    told = label_blocks(rows, Labelling(annotation, spec), counts)
                    named = sum(
                        row["label_name"] != "outside" for row in collect_audited(told, PATCHES, 0, chosen=chosen)
                    )
                    seconds.append(time.process_time() - began)
                    began = time.process_time()
                    label_audit(chosen, annotation, spec, reached=counts.reached)
                    audits.append(time.process_time() - began)
                print(
                    f"| {radius:,} | {rule} | {overlap} | {np.median(seconds):.2f} ({min(seconds):.2f}-"
                    f"{max(seconds):.2f}) | {np.median(audits):.2f} ({min(audits):.2f}-{max(audits):.2f}) "
                    f"| {named / PATCHES:.0%} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
