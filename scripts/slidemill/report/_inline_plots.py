"""Plots as SVG within a page, in the page's own colours."""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUNDS = {"#ffffff": "var(--paper)", "#000000": "currentColor"}
"""By matplotlib's colours of paper and ink, those of the page, which follow its theme."""


def inline_svg(figure: Figure, description: str) -> str:
    """Return a figure as an SVG element that follows the theme of its page.

    Matplotlib escapes its texts. It names no other file, and its ids are digests of what they name.

    Parameters
    ----------
    figure
        The plot.
    description
        What it shows, for those who cannot see it.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    # Texts stay texts; the salt makes equal figures equal.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "slidemill"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    (box,) = re.findall(r'viewBox="([^"]+)"', svg)
    body = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    for own, shown in GROUNDS.items():
        body = body.replace(own, shown)
    return f'<svg role="img" viewBox="{box}" aria-label="{escape(description)}">{body}'
