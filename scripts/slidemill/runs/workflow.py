"""Inputs, parameters and code digests of the rules, from the configuration."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from slidemill.config.configuration import Config
from slidemill.core.results_layout import (
    BENCHMARK_PLOT,
    BENCHMARK_TABLE,
    CANDIDATES_TABLE,
    METADATA_PARQUET,
    REPORT,
    SLIDE_FILES,
    SLIDES_TABLE,
    SPACE,
    SPLITS_SEAL,
    SPLITS_TABLE,
    STORE_STAGES,
    SUFFIXES,
    TISSUE_MASK,
    VALIDATION_TABLE,
    store_file,
)
from slidemill.runs._code_digest import code_digest
from slidemill.runs._cohort_parameters import MEASURING, measuring_parameters, page_parameters, report_parameters
from slidemill.runs._embedding import Embedding
from slidemill.runs._missing_files import missing_in_folder
from slidemill.runs._resources import Resources
from slidemill.runs._slide_parameters import SlideParameters
from slidemill.runs.job_settings import STAGES, settings_digest
from slidemill.runs.run_plan import Plan, Prints
from slidemill.slides.discovery import SlideFile

SCRIPTS = Path(__file__).parents[2]

LAYOUT = "slidemill.core.results_layout"


@dataclass(frozen=True)
class Workflow:
    """A run's configuration and slides, as the rules use them.

    A rule runs again when a value of its parameters changes, in type too. Functions among the parameters take a job's
    wildcards; a plan of thousands of slides calls them often, so each rule has few.

    Parameters
    ----------
    config
        The checked configuration.
    slides
        By id.
    warnings
        About the whole run; those about a slide are in the outcomes of its stages.
    known_prints
        By id of a slide, fingerprints that are known already; others are added when they are needed.
    """

    config: Config
    slides: Mapping[str, SlideFile]
    warnings: Sequence[str] = ()
    known_prints: dict[str, Prints] = field(default_factory=dict)

    @cached_property
    def resources(self) -> Resources:
        """Resources that jobs request of a cluster."""
        config = self.config
        return Resources(config.root, self.slides, config.sampling, config.results, config.quality is not None)

    @cached_property
    def of_slide(self) -> SlideParameters:
        """Parameters that differ by slide."""
        return SlideParameters(self.config, self.slides, self.known_prints)

    @property
    def job_config(self) -> dict[str, Any]:
        """What jobs take and no rule has as a parameter; slides and their other files are relative to the roots."""
        config = self.config
        named = {name: str(getattr(config, f"{name}_root")) for name in ("annotations", "masks", "coordinates")}
        roots = {"slides": str(config.root), **named}
        return {"roots": roots, "scratch": config.scratch, "force": config.force} | self.embedding.job_config

    # What there is to make.

    @cached_property
    def backends(self) -> dict[str, dict[str, Any]]:
        """The settings of each store in a fixed order; pictures use the first one."""
        stores = self.config.stores
        return {backend: asdict(stores[backend]) for backend in SUFFIXES if backend in stores}

    @cached_property
    def has_custom_masks(self) -> bool:
        """Whether any slide may have a custom mask."""
        return bool(self.config.tissue_masks) or any(slide.tissue_mask for slide in self.slides.values())

    @cached_property
    def tissue_mask(self) -> dict[str, str]:
        """The file of a slide's tissue mask, empty in a run without masks."""
        return {"mask": TISSUE_MASK} if self.has_custom_masks or self.config.tissue.method != "none" else {}

    @cached_property
    def splits_table(self) -> dict[str, str]:
        """The table of folds, empty in a run without folds."""
        return {"splits": SPLITS_TABLE} if self.config.splits else {}

    @cached_property
    def splits_files(self) -> list[str]:
        """The table of folds and its seal, empty in a run without folds."""
        return [SPLITS_TABLE, SPLITS_SEAL] if self.splits_table else []

    @cached_property
    def pictured_store(self) -> dict[str, str]:
        """The store that a slide's pictures show; empty in a run without stores."""
        first = next(iter(self.backends), None)
        return {"store": str(store_file(first, "{slide}"))} if first else {}

    @cached_property
    def embedding(self) -> Embedding:
        """What the run embeds."""
        return Embedding(self.config, self.backends, list(self.slides), self.resources)

    @cached_property
    def benchmark_files(self) -> dict[str, str]:
        """The benchmark's tables and plot; empty in a run without stores or benchmark."""
        files = {"benchmark": BENCHMARK_TABLE, "candidates": CANDIDATES_TABLE, "plot": BENCHMARK_PLOT}
        return files if self.backends and self.config.benchmark else {}

    @property
    def space_file(self) -> list[str]:
        """The check of the free space; empty in a run without stores."""
        return [SPACE] if self.backends else []

    @property
    def store_files(self) -> list[str]:
        """The files that represent all stores for Snakemake."""
        return [str(store_file(backend, slide)) for slide in self.slides for backend in self.backends]

    @cached_property
    def stages(self) -> list[str]:
        """The stages of each slide in their order, one per store; draw_slide is last."""
        unused = {stage for backend, stage in STORE_STAGES.items() if backend not in self.backends}
        # Without stores there is nothing to validate.
        unused |= set() if self.backends else {"validate_stores"}
        return [stage for stage in SLIDE_FILES if stage not in unused]

    @property
    def job_files(self) -> list[str]:
        """One file of each job, except jobs that few runs have."""
        made = [file for stage in self.stages for file in self.every_slide(SLIDE_FILES[stage][0])]
        benchmark = [self.benchmark_files["benchmark"]] if self.benchmark_files else []
        return [*made, SLIDES_TABLE, *benchmark, *self.splits_table.values(), REPORT]

    def every_slide(self, pattern: str) -> list[str]:
        """Return the path for every slide of a pattern with ``{slide}``."""
        return [pattern.replace("{slide}", slide) for slide in self.slides]

    def missing_of_slides(self, *, is_drawn: bool = True) -> list[str]:
        """Return the missing files of all slides, except stores.

        Snakemake does not notice that a file is missing between files that exist.
        """
        patterns = [file for stage in self.stages[: None if is_drawn else -1] for file in SLIDE_FILES[stage]]
        unused = set() if self.tissue_mask else {TISSUE_MASK}
        wanted = [pattern for pattern in patterns if not pattern.startswith("stores/") and pattern not in unused]
        return [path for one in wanted for path in missing_in_folder(self.every_slide(one), self.config.results)]

    # Inputs.

    @cached_property
    def shown_splits(self) -> dict[str, str]:
        """Files that the report reads to show folds; empty in a run without folds."""
        return self.splits_table | {"columnar": METADATA_PARQUET} if self.splits_table else {}

    def gate_inputs(self, wildcards: Any) -> dict[str, str]:
        """Return the tables that the gate reads, and for the target all the report."""
        tables = {"slides": SLIDES_TABLE, "validation": VALIDATION_TABLE}
        return tables | self.splits_table | {"report": REPORT} if wildcards.target == "all" else tables

    # Parameters.

    def parameters(self, rule: str, backend: str = "") -> dict[str, Any]:
        """Return the parameters of a rule; `store_patches` has a set per backend, `embed_patches` one per model.

        A rule has the name of its script.
        """
        config = self.config
        splits = config.splits and asdict(config.splits)
        pixels = {"grid": config.sampling.to_json(), "icc": config.icc, "seed": config.seed}
        if rule == "embed_patches":
            own = self.embedding.parameters(backend) | pixels
        elif rule in STAGES:
            own = self._stage_parameters[rule]
        elif rule == "store_patches":
            settings = self.backends[backend]
            # Tiles that a store copies are decoded too where other stores decode them: all leave out the same.
            encodings = {store.encoding for store in config.stores.values()}
            checked = settings["encoding"] == "source" and encodings != {"source"}
            own = {"backend": backend, "settings": settings, "reader": config.reader, **pixels}
            own["checked_copies"] = checked
        else:
            others: dict[str, dict[str, Any]] = {
                "validate_stores": {"backends": list(self.backends), "validation": asdict(config.validation), **pixels},
                "draw_slide": {"annotation": self.of_slide.annotation_path, "labels": asdict(config.labels), **pixels},
                "gather_results": {name: getattr(config, name) for name in ("unreadable_patches", "reader", "icc")},
                "join_hdf5": {},
                "split_slides": {"splits": splits, "seed": config.seed},
                "check_space": {"stores": self.backends, "reader": config.reader, **pixels},
                **dict.fromkeys(MEASURING, measuring_parameters(config, self.backends) | pixels),
                "print_estimate": {},
                "render_report": page_parameters(config, self.report_parameters, SCRIPTS)
                | {"warnings": [*self.warnings]},
                "gate": {"max_failed": config.max_failed, "splits": splits, "unmapped": config.unmapped},
            }
            own = others[rule]
        return own | {"code": self.code(rule, backend)}

    @cached_property
    def _stage_parameters(self) -> dict[str, dict[str, Any]]:
        """The parameters, without code, of the stages that select and label patches."""
        config = self.config
        sampled = {
            "grid": config.sampling.to_json(),
            "max_patches": config.max_patches,
            "tissue": asdict(config.tissue),
            "custom_mask": self.of_slide.custom_mask if self.has_custom_masks else None,
            "unannotated": self.of_slide.unannotated if config.unannotated in ("skip", "fail") else None,
        }
        # Without measures, sampling reads no pixel, and another reader samples nothing again.
        if config.quality:
            sampled |= {"quality": asdict(config.quality), "reader": config.reader, "seed": config.seed}
        sampled |= {"coordinates": self.of_slide.coordinates} if config.coordinates else {}
        # Where all labels are sampled, other annotations and other labels sample nothing again.
        if config.labels.only:
            sampled["labels"] = self.of_slide.label_choice
        bounds = {"assume_mpp": config.assume_mpp, "limit_bounds": config.sampling.limit_bounds}
        return {
            "discover_slides": {"file": self.of_slide.file, **bounds},
            "sample_patches": sampled,
            "write_metadata": {"known": self.of_slide.annotation, "labels": asdict(config.labels), "seed": config.seed},
        }

    @cached_property
    def report_parameters(self) -> dict[str, Any]:
        """The settings that the report shows."""
        return report_parameters(self.config, self.backends)

    def code(self, rule: str, backend: str = "") -> str:
        """Return a digest of the code that a rule runs.

        Modules that its script imports but does not run are left out.
        """
        stored = self.embedding.backend if rule == "embed_patches" else backend
        unused = [LAYOUT, *(f"slidemill.stores.{name}" for name in SUFFIXES if backend and name != stored)]
        if rule == "sample_patches":
            # Otherwise an edit of how annotations are read would sample and store again.
            unused += [] if self.config.labels.only else ["slidemill.sampling.label_filter"]
            unused += [] if self.config.coordinates else ["slidemill.coordinates.placing"]
            unused += [] if self.has_custom_masks else ["slidemill.sampling._custom_mask"]
        return code_digest(SCRIPTS / f"{rule}.py", unused)

    # What the run writes down for its jobs.

    def settings(self) -> dict[str, dict[str, str]]:
        """Return digests of the job parameters by slide and stage."""

        def value(own: Any, slide: str) -> Any:
            return own(SimpleNamespace(slide=slide)) if callable(own) else own

        return {
            slide: {
                stage: settings_digest({name: value(own, slide) for name, own in parameters.items()})
                for stage, parameters in self._stage_parameters.items()
            }
            for slide in self.slides
        }

    def plan(self) -> Plan:
        """Return the plan of the run."""
        prints = {slide: self.of_slide.prints(slide) for slide in self.slides}
        backends, models = tuple(self.backends), self.embedding.names
        return Plan(self.slides, prints, backends, tuple(self.warnings), self.settings(), models)


def missing(paths: Iterable[str], results: Path) -> list[str]:
    """Return the paths that do not exist in the results folder."""
    folder = f"{results}{os.sep}"
    return [path for path in paths if not os.path.exists(folder + path)]  # noqa: PTH110 - a plan asks this for each store
