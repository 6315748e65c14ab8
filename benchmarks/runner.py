"""One run of one entrant in a process of its own: what it is asked, how it is timed, what it reports.

It runs in the rivals' environments too, and so imports nothing but the standard library and NumPy.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

import numpy as np

BLOCK = 8 * 1024 * 1024
PICTURES = "pictures.npy"
"""Where a run leaves the pixels it was asked for, in its folder."""


@dataclass(frozen=True, slots=True)
class Request:
    """What one run is asked to do.

    Parameters
    ----------
    entrant
        Its name in the catalogue of its module.
    slide
        The slide's file.
    folder
        An empty folder, the run's own.
    patch_size, columns, rows
        The grid at level 0: `columns` by `rows` patches side by side from (0, 0), all within the slide. They are
        numbered row by row from 0 at the top left.
    deepzoom_level
        The DeepZoom level that is full resolution.
    threads
        How many threads, processes or workers an entrant may use that can use several.
    look
        Numbers of the patches whose pixels are to be left in `folder` after the timing, in rising order.
    pywsi
        A checkout of py-wsi; empty where there is none.
    """

    entrant: str
    slide: str
    folder: str
    patch_size: int
    columns: int
    rows: int
    deepzoom_level: int
    threads: int
    look: tuple[int, ...] = ()
    pywsi: str = ""

    @property
    def count(self) -> int:
        """How many patches there are."""
        return self.columns * self.rows

    def place(self, number: int) -> tuple[int, int]:
        """Return a patch's first pixel, ``(x, y)`` at level 0."""
        row, column = divmod(number, self.columns)
        return column * self.patch_size, row * self.patch_size


@dataclass(frozen=True, slots=True)
class Done:
    """What the work came to: patches, CPU seconds of other processes that were not waited for, and what to note."""

    patches: int
    cpu_elsewhere: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """An entrant at the start: its library is imported, its processes wait, the slide is not open yet.

    Parameters
    ----------
    work
        What is timed: opens the slide, reads every patch, and writes the store where there is one.
    look
        What is not: gives the pixels of some patches, ``uint8 (patch_size, patch_size, 3)``, in the order asked
        for, from the store or by the way that `work` read them. None where there are no pixels.
    others
        Gives the ids of the other processes whose memory counts.
    summed
        Whether the memory of all processes is added up; else the largest one counts.
    every
        Seconds between two samples of the memory.
    """

    work: Callable[[], Done]
    look: Callable[[Sequence[int]], Sequence[Any]] | None = None
    others: Callable[[], Sequence[int]] = tuple
    summed: bool = True
    every: float = 0.02


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to.

    Parameters
    ----------
    wall, cpu
        Seconds; CPU is user and system time of the process and of its children.
    patches
        How many there were.
    anonymous, resident
        Peak bytes of memory while it worked: anonymous alone, and with the pages of mapped files.
    stored
        Bytes in the files that it left.
    foreign
        CPU seconds that everything else on the machine took meanwhile, the kernel's own writing to disks included.
    note
        What the entrant has to say of its way.
    """

    wall: float
    cpu: float
    patches: int
    anonymous: int
    resident: int
    stored: int
    foreign: float
    note: str


class Sampler:
    """Samples the memory of processes in a thread, and keeps the peaks, in bytes."""

    def __init__(self, ready: Ready) -> None:
        self.anonymous = self.resident = 0
        self._ready = ready
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Sampler:
        self._take()
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._ended.set()
        self._thread.join()
        self._take()

    def _sample(self) -> None:
        while not self._ended.wait(self._ready.every):
            self._take()

    def _take(self) -> None:
        found = [memory(process) for process in (os.getpid(), *self._ready.others())]
        merge = sum if self._ready.summed else max
        self.anonymous = max(self.anonymous, merge(anonymous for anonymous, _ in found))
        self.resident = max(self.resident, merge(resident for _, resident in found))


def memory(process: int) -> tuple[int, int]:
    """Return the anonymous and the resident bytes of a process, zeros where it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = {name: rest for name, _, rest in (line.partition(":") for line in text.splitlines())}
    # A process that has ended and was not waited for has no such lines.
    anonymous, resident = (int(found.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "VmRSS"))
    return anonymous, resident


def bytes_below(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


def run(prepare: Callable[[Request], Ready], request: Request) -> Run:
    """Warm the slide up, time the work, and leave the pixels that are asked for."""
    ready = prepare(request)
    with Path(request.slide).open("rb", buffering=0) as file:
        while file.read(BLOCK):
            pass
    with Sampler(ready) as peak:
        busy, cpu, begun = busy_seconds(), cpu_seconds(), time.perf_counter()
        done = ready.work()
        wall, cpu, busy = time.perf_counter() - begun, cpu_seconds() - cpu + done.cpu_elsewhere, busy_seconds() - busy
    result = Run(
        wall=wall,
        cpu=cpu,
        patches=done.patches,
        anonymous=peak.anonymous,
        resident=peak.resident,
        stored=bytes_below(Path(request.folder)),
        foreign=max(0.0, busy - cpu),
        note=done.note,
    )
    if request.look and ready.look:
        np.save(Path(request.folder, PICTURES), np.stack([np.asarray(one) for one in ready.look(request.look)]))
    return result


def main(catalogue: Mapping[str, Callable[[Request], Ready]]) -> None:
    """Do what the one argument, a request in JSON, asks, and print the run as the one line of JSON."""
    values = json.loads(sys.argv[1])
    request = Request(**{**values, "look": tuple(values["look"])})
    with redirect_stdout(sys.stderr):
        result = run(catalogue[request.entrant], request)
    print(json.dumps(asdict(result)))


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, and of its children that it waited for."""
    return sum(getrusage(who).ru_utime + getrusage(who).ru_stime for who in (RUSAGE_SELF, RUSAGE_CHILDREN))


def busy_seconds() -> float:
    """Return the CPU seconds that the whole machine was busy, or was taken away from it, since it started."""
    fields = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()
    # The fourth and the fifth are idle, and waiting for disks.
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, fields[1:9])
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")
