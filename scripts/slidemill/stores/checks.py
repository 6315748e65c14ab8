"""Checking one store by itself, and whether a slide's stores hold the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.encodings import decode_patch, digest
from slidemill.core.files import check_readable
from slidemill.core.job_log import log_progress
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.text import format_list
from slidemill.errors import StoreError, machine_error
from slidemill.stores._pixel_digests import PixelDigests
from slidemill.stores.base import Store
from slidemill.stores.registry import open_store

NAMED = 5
"""How many patches a finding names; it counts the others."""

AHEAD = 8
"""Patches for each thread that may be looked at before the one that is waited for."""

EVERY_STORE = "all"
"""Stands for the backend in findings that concern all of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result: how many patches it looked at, and what is wrong (empty where nothing is)."""

    slide: str
    backend: str
    check: str
    checked: int
    message: str = ""

    @property
    def status(self) -> str:
        """``"ok"`` or ``"failed"``."""
        return "failed" if self.message else "ok"

    def row(self) -> dict[str, object]:
        """Return the finding as a row of the validation table."""
        return {**asdict(self), "status": self.status}


@dataclass(frozen=True, slots=True)
class Expected:
    """What a store must say of itself, as far as it is known beside the store.

    Parameters
    ----------
    slide, backend
        Whose it is, and in which backend.
    ids
        The patches that it must have, no others.
    sampling
        The grid, as the manifest has it.
    fingerprint
        The fingerprint of the slide's content.
    icc
        What was done to the slide's colours, as the manifest has it.
    """

    slide: str
    backend: str
    ids: Sequence[str] | None = None
    sampling: Mapping[str, Any] | None = None
    fingerprint: str | None = None
    icc: str | None = None


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """What the checks of one store found.

    Parameters
    ----------
    findings
        A finding for each check that could be made.
    opened
        Whether the store could be opened and read, be that right or wrong.
    pixel_digests
        The digest of each patch's pixels, where the store holds the slide's own pixels; else None.
    """

    findings: tuple[Finding, ...]
    opened: bool = True
    pixel_digests: PixelDigests | None = None


def check_store(path: Path, expected: Expected, threads: int = 1) -> StoreCheck:
    """Check one store by itself: that it opens, and has what it was given, byte for byte.

    Parameters
    ----------
    path
        Where it stands.
    expected
        What is known of it.
    threads
        How many threads decode its patches.
    """
    findings: list[Finding] = []

    def add(check: str, checked: int, *messages: str) -> None:
        findings.append(Finding(expected.slide, expected.backend, check, checked, format_messages(messages)))

    try:
        store = open_store(path)
    except Exception as error:  # over a damaged file, libraries raise anything
        add("opens", 0, _told(path, error))
        return StoreCheck(tuple(findings), opened=False)
    with store:
        add("opens", len(store))
        try:
            ids = store.ids if expected.ids is None else expected.ids
            add("ids", len(ids), *_wrong_ids(store, ids))
        except Exception as error:
            add("ids", 0, _told(path, error))
        add("manifest", len(store), *_wrong_manifest(store, expected))
        try:
            same = store.index_digest() == store.manifest.index_digest
            add("index", len(store), *([] if same else ["what lies beside the patches is not what was written"]))
        except Exception as error:
            add("index", 0, _told(path, error))
        faults, changed, pixels = list[str](), list[str](), list[str]()
        for place, one in enumerate(_look(store, expected.backend, threads)):
            faults += filter(None, [one.fault])
            changed += _changed(store, place, one)
            # Where patches were copied, their pixels are seen here for the first time.
            pixels += [] if store.manifest.pixel_digests else [one.pixel_digest]
        add("decodes", len(store), *faults)
        add("digests", len(store), *changed)
        lossless = store.manifest.codec.lossless
        digests = PixelDigests.of(store.ids, store.manifest.pixel_digests or pixels) if lossless else None
        return StoreCheck(tuple(findings), True, digests)


def check_in_child(process: ChildProcess, path: Path, expected: Expected, threads: int = 1) -> StoreCheck:
    """Check one store by itself as `check_store` does, in another process, whose end is a finding too."""
    try:
        return process.call(check_store, path, expected, threads)
    except ChildCrashedError as error:
        # A mapped file that its disk does not give ends the process as damage does.
        check_readable(path)
        message = f"{path}: the process that read it died ({error}): it is damaged; remove it and run again"
        return StoreCheck((Finding(expected.slide, expected.backend, "opens", 0, message),), opened=False)


def check_agreement(slide: str, checks: Mapping[str, StoreCheck]) -> Iterator[Finding]:
    """Check that all lossless stores of a slide hold the same pixels under the same ids; one alone is not checked.

    `checks` are what was found of the stores, by backend.
    """
    pixels = {backend: one.pixel_digests for backend, one in checks.items() if one.pixel_digests is not None}
    if len(pixels) < 2:
        return
    reference, *others = pixels
    differing = []
    for other in others:
        if pixels[reference] != pixels[other]:
            one, two = pixels[reference].by_id(), pixels[other].by_id()
            wrong = (patch_id for patch_id in sorted({*one, *two}) if one.get(patch_id) != two.get(patch_id))
            differing += [f"{patch_id} differs between {reference} and {other}" for patch_id in wrong]
    yield Finding(slide, EVERY_STORE, "stores agree", len(pixels[reference]), format_messages(differing))


def format_messages(messages: Sequence[str]) -> str:
    """Return the first messages of a finding, and how many more there are."""
    return format_list(messages, most=NAMED, between="; ")


def _told(path: Path, error: Exception) -> str:
    """Return an error's message, with the store that it is about; the machine's fault is no store's, and raised on."""
    if fault := machine_error(error, path):
        raise fault from error
    if isinstance(error, StoreError):
        return str(error)
    return f"{path}: cannot be read ({type(error).__name__}: {error}): it is damaged; remove it and run again"


def _wrong_ids(store: Store, ids: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the ids that a store says it has, or really has."""
    told, stored_ids = store.manifest.ids, store.stored_ids()
    if list(told) == stored_ids == list(ids):
        return
    there = set(told) & set(stored_ids)
    missing = [f"{patch_id} is missing" for patch_id in ids if patch_id not in there]
    extra = [f"{patch_id} is too many" for patch_id in sorted((set(told) | set(stored_ids)) - set(ids))]
    yield from missing + extra
    if not (missing or extra):
        yield "the ids are not in raster order"


def _wrong_manifest(store: Store, expected: Expected) -> Iterator[str]:
    """Yield what a store says of itself that is not as it is known."""
    manifest = store.manifest
    if manifest.slide != expected.slide or manifest.backend != expected.backend:
        yield f"the manifest is of {manifest.slide} in {manifest.backend}"
    if expected.sampling is not None:
        if manifest.patch_size != expected.sampling["patch_size"]:
            yield f"patch_size is {manifest.patch_size}, not {expected.sampling['patch_size']}"
        if dict(manifest.sampling) != dict(expected.sampling):
            yield f"sampling is {dict(manifest.sampling)}, not {dict(expected.sampling)}"
    if expected.icc not in (None, manifest.icc):
        yield f"icc is {manifest.icc}, not {expected.icc}"
    if expected.fingerprint not in (None, manifest.fingerprint):
        yield f"it was made from another state of the slide ({manifest.fingerprint}, not {expected.fingerprint})"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is found at one patch of a store: the digests of its bytes and pixels, and why it cannot be read."""

    byte_digest: str = ""
    pixel_digest: str = ""
    fault: str = ""


def _look(store: Store, backend: str, threads: int) -> Iterator[_Seen]:
    """Yield what is found at each patch, in the store's order."""

    def look(place: int) -> list[tuple[int, _Seen]]:
        data = b""
        try:
            data = store.read_bytes(store.ids[place])
            pixels = decode_patch(store.manifest.codec, data, store.manifest.shape)
        except Exception as error:
            if fault := machine_error(error, store.path):
                raise fault from error
            return [(place, _Seen(digest(data) if data else "", fault=f"{store.ids[place]}: {error}"))]
        return [(place, _Seen(digest(data), digest(pixels)))]

    steps = (Step(place, partial(look, place)) for place in range(len(store)))
    return log_progress(
        run_in_order(steps, len(store), threads, AHEAD * threads), len(store), f"patches of {backend} checked"
    )


def _changed(store: Store, place: int, one: _Seen) -> Iterator[str]:
    """Yield whether a patch's bytes, or its pixels, are not those that were written."""
    manifest, patch_id = store.manifest, store.ids[place]
    if one.byte_digest and one.byte_digest != manifest.byte_digests[place]:
        yield f"{patch_id}'s bytes are not those that were written"
    if one.pixel_digest and manifest.pixel_digests and one.pixel_digest != manifest.pixel_digests[place]:
        yield f"{patch_id}'s pixels are not those that were written"
