"""The errors that slidemill raises on purpose.

Every message names the subject, the value and the remedy, so that it can be shown to a user as it is.
"""


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
