"""The parameters of rules that differ by slide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from slidemill.config.configuration import Config
from slidemill.core.results_layout import outcome_file
from slidemill.runs._resources import OfSlide
from slidemill.runs.run_plan import Prints, planned_print
from slidemill.slides.discovery import SlideFile


@dataclass(frozen=True, slots=True)
class SlideParameters:
    """Parameters of jobs that depend on the slide, as functions of wildcards.

    A plan of thousands of slides calls them often, so each parameter has all that its rule takes.

    Parameters
    ----------
    config
        The checked configuration.
    slides
        By id.
    known_prints
        Fingerprints by slide, each taken once.
    """

    config: Config
    slides: Mapping[str, SlideFile]
    known_prints: dict[str, Prints]

    def prints(self, slide: str) -> Prints:
        """Return the fingerprints of a slide's file, annotation, mask and coordinates."""
        if slide not in self.known_prints:
            file, config = self.slides[slide], self.config
            places = (
                (config.root, file.path, "discover_slides", "fingerprint"),
                (config.annotations_root, file.annotation, "write_metadata", "annotation_fingerprint"),
                (config.masks_root, file.tissue_mask, "sample_patches", "mask_fingerprint"),
                (config.coordinates_root, file.coordinates, "sample_patches", "coordinates_fingerprint"),
            )
            self.known_prints[slide] = tuple(
                planned_print(root, path, outcome_file(stage, slide), key=key) for root, path, stage, key in places
            )
        return self.known_prints[slide]

    def file(self, wildcards: OfSlide) -> dict[str, Any]:
        """Return a slide's path, fingerprint and µm per pixel from the sheet."""
        slide = self.slides[wildcards.slide]
        return {"path": slide.path, "fingerprint": self.prints(slide.slide)[0], "mpp": slide.mpp}

    def annotation_path(self, wildcards: OfSlide) -> str | None:
        """Return the path of a slide's annotation, or None."""
        return self.slides[wildcards.slide].annotation

    def annotation(self, wildcards: OfSlide) -> dict[str, Any]:
        """Return a slide's annotation, its fingerprint, and the sheet's extra columns.

        Annotation and fingerprint are None for a slide without one.
        """
        slide = self.slides[wildcards.slide]
        own = self.prints(slide.slide)[1]
        return {"annotation": slide.annotation, "fingerprint": own, "columns": dict(slide.columns)}

    def custom_mask(self, wildcards: OfSlide) -> dict[str, Any] | None:
        """Return a slide's custom mask of tissue and its fingerprint, or None."""
        slide = self.slides[wildcards.slide]
        own = self.prints(slide.slide)[2]
        return {"path": slide.tissue_mask, "fingerprint": own} if slide.tissue_mask else None

    def coordinates(self, wildcards: OfSlide) -> dict[str, Any]:
        """Return a slide's file of coordinates, its fingerprint, and the keys of `sampling` that must agree with it."""
        slide = self.slides[wildcards.slide]
        own = self.prints(slide.slide)[3]
        return {"path": slide.coordinates, "fingerprint": own, "stated": list(self.config.stated)}

    def unannotated(self, wildcards: OfSlide) -> str | None:
        """Return how a slide without an annotation is treated, as configured.

        The value is that of `labels.unannotated`, such as ``skip`` or ``fail``; None for a slide that has an
        annotation.
        """
        return None if self.slides[wildcards.slide].annotation else self.config.unannotated

    def label_choice(self, wildcards: OfSlide) -> dict[str, Any]:
        """Return the annotation and label settings that select sampled patches."""
        slide, labels = self.slides[wildcards.slide], self.config.labels
        # Neither the integers of the names nor the order in which they are listed chooses a patch.
        names = {"map": dict.fromkeys(labels.map, 0), "only": sorted(labels.only or ())}
        own = self.prints(slide.slide)[1]
        return {"annotation": slide.annotation, "fingerprint": own, "spec": asdict(labels) | names}
