"""Plot the benchmark and patch quality; plots as SVG within a page, in the page's own colours."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from slidemill.core.files import replacing
from slidemill.core.quality_measures import MEASURES
from slidemill.errors import SlidemillError
from slidemill.report._advice import Rows, fact, source_name, way_name

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def load_matplotlib() -> None:
    """Load what plots need, so that it is not loaded when one is drawn."""
    for name in ("matplotlib.figure", "matplotlib.ticker", "matplotlib.backends.backend_svg"):
        import_module(name)


GROUNDS = {"#ffffff": "var(--paper)", "#000000": "currentColor"}
"""By matplotlib's colours of paper and ink, those of the page, which follow its theme."""

_BOX = re.compile(r'viewBox="[^"]+"')
"""The place of an SVG's content."""


def plot_benchmark(rows: Rows, path: Path) -> None:
    """Publish an SVG of `benchmark_figure`."""
    with replacing(path) as aside:
        aside.write_text(as_svg(benchmark_figure(rows)), encoding="utf-8")


def read_plot(path: Path) -> str:
    """Return the text of a file of `plot_benchmark`.

    Raises
    ------
    SlidemillError
        When it is damaged.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        root = fromstring(text)
    except (ParseError, DefusedXmlException):
        root = None
    if root is None or root.tag != "{http://www.w3.org/2000/svg}svg" or "viewBox" not in root.attrib:
        raise SlidemillError(f"{path}: this plot is damaged: remove it and run again")
    return text


def benchmark_figure(rows: Rows) -> Figure:
    """Plot patches per second per way of reading, and the sizes of stores."""
    from matplotlib.figure import Figure

    measured = [row for row in rows if row["unit"] == "patches/s" and row["median"]]
    ways = list(dict.fromkeys(way_name(row) for row in measured))
    sources = list(dict.fromkeys(row["source"] for row in rows if row["median"]))
    names = [source_name(next(row for row in rows if row["source"] == source)) for source in sources]
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(sources)), layout="constrained")
    panels = figure.subplots(1, len(ways) + 1, sharey=True, squeeze=False)[0]
    rates = [float(row[bound]) for row in measured for bound in ("low", "high")]
    limits = (min(rates, default=1) / 1.5, max(rates, default=1) * 1.5)
    for panel, way in zip(panels, ways, strict=False):
        for cache, colour, face, offset in (("warm", "#d55e00", "#d55e00", -0.12), ("cold", "#0072b2", "white", 0.12)):
            own = {row["source"]: row for row in measured if way_name(row) == way and row["cache"] == cache}
            known = [source for source in sources if source in own]
            middle = [float(own[source]["median"]) for source in known]
            low = [value - float(own[source]["low"]) for value, source in zip(middle, known, strict=True)]
            high = [float(own[source]["high"]) - value for value, source in zip(middle, known, strict=True)]
            places = [sources.index(source) + offset for source in known]
            panel.errorbar(middle, places, xerr=(low, high), fmt="o", color=colour, mfc=face, ms=6, label=cache)
        panel.set_xscale("log")
        panel.set_xlim(limits)
        _mark_rates(panel.xaxis, *limits, panels=len(panels))
        panel.tick_params(axis="x", labelsize=8)
        panel.set_title(way, fontsize=10)
        panel.set_xlabel("patches/s", fontsize=9)
        panel.grid(axis="x", alpha=0.3)
    if ways:
        handles, labels = panels[0].get_legend_handles_labels()
        texts = [f"{label} cache" for label in labels]
        figure.legend(handles, texts, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    panels[-1].barh(
        range(len(sources)), [fact(rows, source, "bytes") / 1e6 for source in sources], 0.5, color="#888888"
    )
    panels[-1].set_title("size", fontsize=10)
    panels[-1].set_xlabel("MB on disk", fontsize=9)
    panels[0].set_yticks(range(len(sources)), names)
    panels[0].invert_yaxis()
    return figure


def _mark_rates(axis: Axis, low: float, high: float, *, panels: int) -> None:
    """Mark a logarithmic axis with as many round numbers as fit next to so many panels: 1k, 2k, 5k, 10k."""
    from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

    # Five panels were measured to have room for a decade.
    decades = math.log10(high / low) * panels / 5
    digits = (1, 2, 3, 5, 7) if decades < 0.7 else (1, 2, 5) if decades < 1.3 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)))
    # Matplotlib's locator falls back to linear steps, whose numbers run into each other.
    numbers = [digit * 10.0**power for power in powers for digit in digits]
    axis.set_major_locator(FixedLocator([number for number in numbers if low <= number <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(EngFormatter(sep=""))


def quality_figure(counts: Mapping[str, Sequence[int]]) -> Figure:
    """Plot histograms of the quality measures.

    Parameters
    ----------
    counts
        By measure, as `slidemill.sampling.quality_notes.all_counts` gives them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.4), layout="constrained")
    panels = figure.subplots(1, len(counts), squeeze=False)[0]
    edges = {measure.column: measure.edges for measure in MEASURES}
    for panel, (name, own) in zip(panels, counts.items(), strict=True):
        if edges[name][0]:  # a bin for each doubling
            panel.set_xscale("log", base=2)
        panel.stairs(own, edges[name], fill=True, color="#0072b2")
        panel.set_title(name.replace("_", " "), fontsize=10)
        panel.set_ylim(0)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("patches", fontsize=9)
    return figure


def as_svg(figure: Figure) -> str:
    """Return a figure as an SVG file; equal figures give equal files.

    Matplotlib escapes its texts. The file names no other file, and its ids are digests of what they name.
    """
    from matplotlib import rc_context

    stream = io.StringIO()
    # Texts stay texts; the salt makes equal figures equal, and so does leaving out the date and Matplotlib's version.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "slidemill"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def inline_svg(svg: str, description: str) -> str:
    """Return a file of `as_svg` as an element that follows the theme of its page.

    Parameters
    ----------
    svg
        The file.
    description
        What it shows, for those who cannot see it.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    body = re.sub(r"<metadata>.*?</metadata>|<style .*?</style>|<!--.*?-->", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body).replace("xlink:href", "href")
    for own, shown in GROUNDS.items():
        body = body.replace(own, shown)
    return f'<svg role="img" {_BOX.findall(svg)[0]} aria-label="{escape(description)}">{body}'
