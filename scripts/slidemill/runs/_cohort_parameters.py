"""The settings of a run that rules over all slides take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from slidemill.config.configuration import DEFAULT_BENCHMARK, Config
from slidemill.core.results_layout import ESTIMATE_TABLE
from slidemill.slides.fingerprint import fingerprint

MEASURING = ("benchmark_stores", "estimate_stores")
"""The rules that measure stores."""


def report_parameters(config: Config, backends: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings that the report shows, by section.

    Parameters
    ----------
    config
        The checked configuration.
    backends
        The settings of each store, in the order of the report.
    """
    features = {name: asdict(one) for name, one in config.features.items()}
    return {
        "sampling": _sampling(config),
        "tissue": asdict(config.tissue),
        "reader": config.reader,
        "icc": config.icc,
        "unreadable_patches": config.unreadable_patches,
        "quality": asdict(config.quality) if config.quality else False,
        "labels": asdict(config.labels) | {"unannotated": config.unannotated, "unmapped": config.unmapped},
        "stores": backends,
        **({"features": features, "device": config.device} if features else {}),
        "splits": config.splits and asdict(config.splits),
        "validation": asdict(config.validation),
        "benchmark": asdict(config.benchmark) if config.benchmark else False,
        "seed": config.seed,
    }


def _sampling(config: Config) -> dict[str, Any]:
    """Return the settings of the grid, or of the patches at the coordinates of files."""
    spec = config.sampling
    values = spec.to_json() | ({"filter": spec.filter} if spec.by_resolution else {})
    if config.coordinates:
        # What is not stated is as the files have it.
        values = {key: values[key] for key in (*config.stated, "edges")} | {"coordinates": str(config.coordinates)}
    return values


def page_parameters(config: Config, shown: Mapping[str, Any], scripts: Path) -> dict[str, Any]:
    """Return the settings `shown`, and the fingerprints of what no run makes: an estimate, and the templates."""
    estimate, templates = config.results / ESTIMATE_TABLE, scripts / "slidemill/report/templates"
    return {
        "parameters": shown,
        "estimate": fingerprint(estimate) if estimate.exists() else None,
        "templates": [fingerprint(templates / f"report.{kind}") for kind in ("html", "css", "js")],
    }


def measuring_parameters(config: Config, backends: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the settings of rules that measure stores; parameters as `report_parameters`.

    Estimates are made in runs without benchmark, too.
    """
    return {
        "stores": backends,
        "benchmark": asdict(config.benchmark or DEFAULT_BENCHMARK),
        "reader": config.reader,
        "checked": config.validation.sample,
    }
