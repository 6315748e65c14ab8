"""The errors that slidemill raises on purpose.

Every message names the subject, the value and the remedy, so that it can be shown to a user as it is.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
AWAY = (
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.ENODEV,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
)


class SlidemillError(Exception):
    """The base of all errors that slidemill raises on purpose."""


class ConfigError(SlidemillError):
    """The configuration or the sheet of slides is wrong; nothing has been run."""


class SlideError(SlidemillError):
    """A slide's content cannot be used; the slide fails and the others go on."""


class UnreadablePatchError(SlideError):
    """A patch's pixels cannot be read; the slide fails, and its other patches are stored."""


class AnnotationError(SlideError):
    """A slide's annotation cannot be used; the slide fails and the others go on."""


class StoreError(SlidemillError):
    """A store is missing, closed, foreign, truncated or lacks the patch that was asked for."""


class SplitError(SlidemillError):
    """Slides cannot be parted into folds as it was asked for, or folds are not of these slides."""


class LeakageError(SlidemillError):
    """What is trained on and what is tested on have a patient, a slide or a part of one in common."""


def is_machines(error: Exception) -> bool:
    """Return whether an error is the machine's, whatever was worked on: memory, a drive that is away."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in AWAY)


def explained(error: Exception) -> str | None:
    """Return what a user should read of an error that ends a job, or None where it is a fault of the program."""
    if isinstance(error, SlidemillError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory was not enough for this job: run with fewer cores, or give the job more memory"
    if not isinstance(error, OSError):
        return None
    subject = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else Path.cwd()
    if error.errno in FULL:
        return f"the disk of {subject} is full ({os.strerror(error.errno)}): make room and run again"
    return f"{subject}: {error.strerror or error}: see to that disk and its permissions, and run again"
