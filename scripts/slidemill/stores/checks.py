"""Check a store, and whether all stores of a slide hold the same pixels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from slidemill.core.child_process import ChildCrashedError, ChildProcess
from slidemill.core.encodings import RAW, decode_patch, digest
from slidemill.core.files import check_readable
from slidemill.core.job_log import log_progress
from slidemill.core.ordered_threads import Step, run_in_order
from slidemill.core.text import format_list
from slidemill.errors import StoreError, machine_error
from slidemill.stores._digests import Decoded, PixelDigests, layout_of, pack, unpack
from slidemill.stores.base import Store
from slidemill.stores.registry import open_store

NAMED = 5
"""How many patches a finding names; it counts the others."""
AHEAD = 8
"""Patches per thread that may be checked ahead of the next one in order."""
EVERY_STORE = "all"
"""The backend in findings about all stores of a slide."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A check's result: number of checked patches, and fault; empty if none."""

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
    """Expected content of a store's manifest; None for unknown values.

    Parameters
    ----------
    slide, backend
        The slide's id, and the backend's name.
    ids
        All patches that the store must have.
    sampling, fingerprint, icc
        As in `Manifest`.
    """

    slide: str
    backend: str
    ids: Sequence[str] | None = None
    sampling: Mapping[str, Any] | None = None
    fingerprint: str | None = None
    icc: str | None = None


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """The results of checking a store.

    Parameters
    ----------
    findings
        A finding per check that could be made.
    is_open
        Whether the store could be opened and read.
    pixel_digests
        The digests of all patches' pixels; None where the encoding is lossy or the store could not be opened.
    decoded
        What its bytes were decoded to; None where it could not be opened, or nothing was decoded.
    """

    findings: tuple[Finding, ...]
    is_open: bool = True
    pixel_digests: PixelDigests | None = None
    decoded: Decoded | None = None


def check_store(path: Path, expected: Expected, threads: int = 1, known: Sequence[Decoded] = ()) -> StoreCheck:
    """Check that a store opens, and holds exactly the bytes that were written.

    Parameters
    ----------
    path
        The store.
    expected
        The expected content of its manifest.
    threads
        How many threads decode its patches.
    known
        What was decoded of the slide's other stores: patches of the same bytes are not decoded again.

    Raises
    ------
    MachineError
        When the machine, and not the store, is at fault.
    """
    findings: list[Finding] = []

    def add(check: str, checked: int, *messages: str) -> None:
        findings.append(Finding(expected.slide, expected.backend, check, checked, format_messages(messages)))

    try:
        store = open_store(path)
    except Exception as error:  # libraries raise anything on damaged files
        add("opens", 0, _explain(path, error))
        return StoreCheck(tuple(findings), is_open=False)
    with store:
        add("opens", len(store))
        try:
            ids = store.ids if expected.ids is None else expected.ids
            add("ids", len(ids), *_wrong_ids(store, ids))
        except Exception as error:
            add("ids", 0, _explain(path, error))
        add("manifest", len(store), *_wrong_manifest(store, expected))
        try:
            same = store.index_digest() == store.manifest.index_digest
            add("index", len(store), *([] if same else ["the index is not what was written"]))
        except Exception as error:
            add("index", 0, _explain(path, error))
        faults, changed, stored, pixels = list[str](), list[str](), list[str](), list[str]()
        layout = layout_of(store)
        before = next((one for one in known if one.layout == layout), None)
        if store.holds_tiles:
            strips = list(_look_at_tiles(store))
            stored, changed = [found for found, _ in strips], [message for _, message in strips if message]
            before = before if before and before.stored == pack(stored) else None
        for place, one in enumerate(_look(store, expected.backend, threads, before)):
            faults += filter(None, [one.fault])
            changed += _find_changes(store, place, one)
            stored += [] if store.holds_tiles else [one.byte_digest]
            pixels.append(one.pixel_digest)
        add("decodes", len(store), *faults)
        add("digests", len(store.stored_names), *changed)
        lossless = store.manifest.codec.lossless
        # Where patches were copied, their pixels are seen here for the first time.
        digests = PixelDigests.of(store.ids, store.manifest.pixel_digests or pixels) if lossless else None
        decoded = None if store.manifest.codec is RAW else Decoded(layout, pack(stored), pack(pixels))
        return StoreCheck(tuple(findings), True, digests, decoded)


def check_in_child(
    process: ChildProcess, path: Path, expected: Expected, *, threads: int = 1, known: Sequence[Decoded] = ()
) -> StoreCheck:
    """Check a store in a child process; report its crash as a finding."""
    try:
        return process.call(check_store, path, expected, threads, known)
    except ChildCrashedError as error:
        # A disk that fails to read a mapped file kills the process as damage does.
        check_readable(path)
        message = f"{path}: the process that read it died ({error}): it is damaged; remove it and run again"
        return StoreCheck((Finding(expected.slide, expected.backend, "opens", 0, message),), is_open=False)


def check_agreement(slide: str, checks: Mapping[str, StoreCheck]) -> Iterator[Finding]:
    """Check that all lossless stores of a slide hold the same pixels by id.

    `checks` holds the check of each store by backend; a single lossless store has no finding.
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
    """Return the first messages, and the number of further ones."""
    return format_list(messages, most=NAMED, between="; ")


def _explain(path: Path, error: Exception) -> str:
    """Return an error's message; raise MachineError if the machine is at fault."""
    if fault := machine_error(error, path):
        raise fault from error
    if isinstance(error, StoreError):
        return str(error)
    return f"{path}: cannot be read ({type(error).__name__}: {error}): it is damaged; remove it and run again"


def _wrong_ids(store: Store, ids: Sequence[str]) -> Iterator[str]:
    """Yield differences of the manifest's ids and the stored ids from `ids`."""
    listed, stored = store.manifest.ids, store.stored_ids()
    if store.holds_tiles:
        wrong = set(store.stored_names) ^ set(stored)
        yield from (f"strip {one} of tiles is {'unexpected' if one in stored else 'missing'}" for one in sorted(wrong))
        stored = list(listed)
    if list(listed) == stored == list(ids):
        return
    there = set(listed) & set(stored)
    missing = [f"{patch_id} is missing" for patch_id in ids if patch_id not in there]
    extra = [f"unexpected patch {patch_id}" for patch_id in sorted((set(listed) | set(stored)) - set(ids))]
    yield from missing + extra or ["the ids are not in raster order"]


def _wrong_manifest(store: Store, expected: Expected) -> Iterator[str]:
    """Yield differences between a store's manifest and the expected values."""
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
    """Digests of a patch's bytes and pixels, or the reason it cannot be read."""

    byte_digest: str = ""
    pixel_digest: str = ""
    fault: str = ""


def _look(store: Store, backend: str, threads: int, before: Decoded | None) -> Iterator[_Seen]:
    """Read all patches, and yield their digests or faults in order.

    Raw bytes are the pixels, and what was decoded `before` is not decoded again.
    """
    manifest, is_raw = store.manifest, store.manifest.codec is RAW

    def look(place: int) -> list[tuple[int, _Seen]]:
        found, own = "", store.ids[place]
        pixels = unpack(before.pixels, place) if before else ""
        try:
            if store.holds_tiles:
                return [(place, _Seen("", pixels or digest(store.read(own))))]
            if is_raw:
                found = digest(store.view(own))
                return [(place, _Seen(found, found))]
            data = store.read_bytes(own)
            found = digest(data)
            if not (pixels and before and found == unpack(before.stored, place)):
                pixels = digest(decode_patch(manifest.codec, data, manifest.shape))
        except Exception as error:
            if fault := machine_error(error, store.path):
                raise fault from error
            return [(place, _Seen(found, fault=f"{own}: {error}"))]
        return [(place, _Seen(found, pixels))]

    steps = (Step(place, partial(look, place)) for place in range(len(store)))
    return log_progress(
        run_in_order(steps, len(store), threads, ahead=AHEAD * threads), len(store), f"patches of {backend} checked"
    )


def changed_tiles(store: Store) -> Iterator[str]:
    """Yield a message for each strip of tiles, if the store holds any, whose bytes differ from the manifest."""
    return (message for _, message in _look_at_tiles(store) if message)


def _look_at_tiles(store: Store) -> Iterator[tuple[str, str]]:
    """Yield the digest of each strip of tiles, if the store holds any, and a message if it is not the manifest's."""
    names = store.stored_names if store.holds_tiles else ()
    for name, written in zip(names, store.manifest.byte_digests, strict=False):
        try:
            found = digest(store.read_stored(name))
            yield (
                found,
                "" if found == written else f"the bytes of strip {name} of tiles are not those that were written",
            )
        except StoreError as error:
            yield "", str(error)


def _find_changes(store: Store, place: int, one: _Seen) -> Iterator[str]:
    """Yield a message if a patch's bytes or pixels differ from the manifest."""
    manifest, patch_id = store.manifest, store.ids[place]
    if one.byte_digest and one.byte_digest != manifest.byte_digests[place]:
        yield f"{patch_id}'s bytes are not those that were written"
    if one.pixel_digest and manifest.pixel_digests and one.pixel_digest != manifest.pixel_digests[place]:
        yield f"{patch_id}'s pixels are not those that were written"
