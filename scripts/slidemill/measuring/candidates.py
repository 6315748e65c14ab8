"""Candidates for stores, a backend and an encoding each, and what is measured on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from slidemill.core.results_layout import SUFFIXES
from slidemill.core.specs import StoreSpec
from slidemill.stores.backend import OFFERED
from slidemill.stores.registry import STORES

JPEG_QUALITY = 90
"""Quality of JPEG where the configuration gives none."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A backend with an encoding, as the configuration names them.

    Parameters
    ----------
    backend, spec
        The kind of store, and how it encodes patches.
    is_configured
        Whether the configuration has it.
    """

    backend: str
    spec: StoreSpec
    is_configured: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """The measured properties of a candidate.

    Parameters
    ----------
    candidate
        What was measured.
    patches
        The number of patches that were measured; 0 if there was no time for it.
    patch_bytes, empty_bytes
        Bytes of a store per patch, and of a store without patches.
    patch_space, empty_space
        The same on the disk, where each file takes whole blocks.
    margin
        Twice the standard error of the bytes per patch, as a share of them.
    encoding, writing
        Seconds per patch: encoded by all threads or copied, and written and synced by one.
    random, batches
        Patches per second, read one by one in random order, and in shuffled batches by all processes; both from the
        page cache.
    reason
        Why nothing was measured, where the sample does not say it.
    """

    candidate: Candidate
    patches: int = 0
    patch_bytes: float = 0.0
    empty_bytes: float = 0.0
    patch_space: float = 0.0
    empty_space: float = 0.0
    margin: float = 0.0
    encoding: float = 0.0
    writing: float = 0.0
    random: float = 0.0
    batches: float = 0.0
    reason: str = ""

    def joined(self, other: Measured) -> Measured:
        """Return what was measured on the patches of both, for which one store holds other things."""
        if not self.patches:
            return other
        patches = self.patches + other.patches
        one, two = self.patches / patches, other.patches / patches

        def rate(own: float, others: float) -> float:
            return 1 / (one / own + two / others) if own and others else 0.0

        return Measured(
            self.candidate,
            patches=patches,
            patch_bytes=one * self.patch_bytes + two * other.patch_bytes,
            empty_bytes=one * self.empty_bytes + two * other.empty_bytes,
            patch_space=one * self.patch_space + two * other.patch_space,
            empty_space=one * self.empty_space + two * other.empty_space,
            margin=one * self.margin + two * other.margin,
            encoding=one * self.encoding + two * other.encoding,
            writing=one * self.writing + two * other.writing,
            random=rate(self.random, other.random),
            batches=rate(self.batches, other.batches),
        )

    def bytes_of(self, stores: int, patches: int) -> int:
        """Return the bytes of so many stores with so many patches in all."""
        return round(stores * self.empty_bytes + patches * self.patch_bytes)

    def space_of(self, stores: int, patches: int) -> int:
        """Return the same on the disk, where each file takes whole blocks."""
        return round(stores * self.empty_space + patches * self.patch_space)


def list_candidates(configured: Mapping[str, StoreSpec], *, copies: Collection[str]) -> list[Candidate]:
    """Return all candidates, the configured ones first, then all backends with raw patches.

    Parameters
    ----------
    configured
        The stores of the configuration.
    copies
        The backends that the slides' own tiles can be copied to.
    """
    own = [Candidate(backend, spec, True) for backend, spec in configured.items()]
    others = [
        Candidate(backend, StoreSpec(encoding, JPEG_QUALITY if encoding == "jpeg" else None))
        for encoding in OFFERED
        for backend in SUFFIXES
        if encoding in STORES[backend].offered and not (encoding == "source" and backend not in copies)
    ]
    known = {(one.backend, one.spec.encoding) for one in own}
    return [*own, *(one for one in others if (one.backend, one.spec.encoding) not in known)]
