"""The slides of a run, and the tables that gather what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from slidemill.columns import METADATA_COLUMNS
from slidemill.config import Config, is_sheet
from slidemill.discovery import SlideFile, decoded, find_slides
from slidemill.outcomes import Outcome
from slidemill.sheets import read_sheet
from slidemill.tables import read_table


def list_slides(config: Config, sheet_schema: Mapping[str, Any]) -> list[SlideFile]:
    """Return the slides that the configuration names, from its folder or its sheet, without opening any.

    Raises
    ------
    ConfigError
        When there is none, or the sheet or the annotations are wrong.
    """
    if is_sheet(config.slides):
        return read_sheet(config.slides, sheet_schema, frozenset(METADATA_COLUMNS))
    return find_slides(config.slides, config.annotations, skip=config.results)


def slide_row(facts: Outcome, later: Iterable[Outcome], findings: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Return a slide's row of the table of slides.

    The status is that of the first stage that failed; a finding of the validation fails the slide too.

    Parameters
    ----------
    facts
        The outcome of discover_slides, with the slide's facts.
    later
        The outcomes of the stages after it, in their order.
    findings
        The slide's rows of the validation table.
    """
    stages = [facts, *later]
    failure = next((outcome for outcome in stages if outcome.failed), None)
    wrong = [finding for finding in findings if finding["status"] == "failed"]
    if failure:
        status, stage, message = failure.status, failure.stage, failure.message
    elif wrong:
        status, stage = "failed", "validate_stores"
        message = f"{wrong[0]['backend']}, {wrong[0]['check']}: {wrong[0]['message']}"
    else:
        status = "empty" if any(outcome.status == "empty" for outcome in stages) else "ok"
        stage = message = ""
    details = facts.details
    info = details.get("info") or {}
    bounds = info.get("bounds")
    width, height = info["dimensions"][0] if info else ("", "")
    return {
        "slide": facts.slide,
        "path": decoded(details["path"]),
        "status": status,
        "stage": stage,
        "message": message,
        "patches": next((o.details["patches"] for o in reversed(stages) if "patches" in o.details), 0),
        "annotation": next((o.details["annotation"] for o in stages if "annotation" in o.details), ""),
        "regions": next((o.details["regions"] for o in stages if "regions" in o.details), ""),
        "reader": _joined(stages, "reader"),
        "reader_reason": _joined(stages, "reader_reason"),
        "vendor": info.get("vendor"),
        "width": width,
        "height": height,
        "levels": len(info["dimensions"]) if info else "",
        "level_downsamples": ";".join(f"{value:.10g}" for value in info.get("downsamples", ())),
        "mpp_x": info.get("mpp_x"),
        "mpp_y": info.get("mpp_y"),
        "objective_power": info.get("objective_power"),
        "bounds": ";".join(map(str, bounds)) if bounds else "",
        "deepzoom_levels": details.get("deepzoom_levels"),
        "file_size": details.get("file_size"),
        "fingerprint": details["fingerprint"],
    }


def _joined(stages: Iterable[Outcome], key: str) -> str:
    """Return what the stages say of `key`, each once; the jobs of several backends nearly always say the same."""
    return "; ".join(dict.fromkeys(stage.details[key] for stage in stages if key in stage.details))


def merged_rows(tables: Iterable[Path]) -> Iterator[dict[str, str]]:
    """Yield the rows of several tables one after another."""
    return chain.from_iterable(read_table(table) for table in tables)


def complaints(slides: Iterable[Mapping[str, str]], validation: Iterable[Mapping[str, str]]) -> list[str]:
    """Return a line for each failed slide and each failed check, or nothing where all is well."""
    lines = [f"{row['slide']}  {row['stage']}  {row['message']}" for row in slides if row["status"] == "failed"]
    lines += [
        f"{row['slide']}  validate_stores  {row['backend']}, {row['check']}: {row['message']}"
        for row in validation
        if row["status"] == "failed"
    ]
    return list(dict.fromkeys(lines))
