"""Colours of labels, the same in all pictures and tables.

`docs/design/report.md` says how they were chosen.
"""

from __future__ import annotations

PALETTE = ("#00BBFF", "#EEDD00", "#FF0022", "#55EE99", "#228811", "#1177FF", "#EE9922")
"""Colours of labels 0, 1, ..."""

STYLES = 2 * len(PALETTE)
"""Labels with different styles: after the last colour come the same colours dashed with white, then all repeat."""

UNMAPPED_COLOUR = "#555555"


def label_colour(label: int) -> str:
    """Return a label's colour in all pictures, in the form ``#rrggbb``."""
    return UNMAPPED_COLOUR if label < 0 else PALETTE[label % len(PALETTE)]


def is_dashed(label: int) -> bool:
    """Return whether a label's colour alternates with white."""
    return label >= 0 and label // len(PALETTE) % 2 == 1


def css_background(label: int) -> str:
    """Return a label's colour as the value of CSS's ``background``."""
    colour = label_colour(label)
    return f"repeating-linear-gradient(45deg, {colour} 0 3px, #ffffff 3px 5px)" if is_dashed(label) else colour
