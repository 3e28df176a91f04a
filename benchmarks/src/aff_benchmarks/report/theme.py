"""Plots that are legible on light and on dark pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aff_benchmarks.report.section import shown

COLOURS = ("#2f81f7", "#e8710a", "#2da44e", "#bf4b8a", "#8b6ff0", "#b08800")
MARKERS = ("o", "s", "^", "D", "v", "P")
_INK = "#7d8590"  # a grey with a contrast of 4 on white, and of 5 on black
_HEADROOM = 3.0


def new_plot(panels: int = 1, *, width: float = 4.6, height: float = 3.6) -> tuple[Figure, list[Axes]]:
    """Return a transparent figure with panels side by side, each `width` x `height` inches."""
    with mpl.rc_context({"font.size": 10}):
        figure = Figure(figsize=(width * panels, height), layout="constrained")
        axes = [figure.add_subplot(1, panels, number) for number in range(1, panels + 1)]
    figure.patch.set_alpha(0)
    for one in axes:
        one.patch.set_alpha(0)
        one.grid(axis="y", color=_INK, alpha=0.25)
        one.set_axisbelow(True)
        one.tick_params(colors=_INK, which="both")
        for name, spine in one.spines.items():
            spine.set_color(_INK)
            spine.set_visible(name in ("left", "bottom"))
        for text in (one.title, one.xaxis.label, one.yaxis.label):
            text.set_color(_INK)
    return figure, axes


def draw_bars(axes: Axes, heights: Mapping[str, float | None], title: str, *, log: bool = False) -> None:
    """Draw one bar per name, with its value above.

    Args:
        axes: Panel of `new_plot`.
        heights: Positive values by name; None for no bar.
        title: Title with the unit.
        log: Whether the axis is logarithmic.
    """
    there = {place: height for place, height in enumerate(heights.values()) if height is not None}
    bars = axes.bar(list(there), list(there.values()), width=0.65, color=[COLOURS[place] for place in there])
    axes.bar_label(bars, labels=[shown(height) for height in there.values()], padding=2)
    axes.set_xticks(range(len(heights)), list(heights))
    axes.set_xlim(-0.6, len(heights) - 0.4)
    axes.set_title(title)
    if log:
        axes.set_yscale("log")
        axes.set_ylim(min(there.values()) / _HEADROOM, max(there.values()) * _HEADROOM)
        axes.minorticks_off()
    else:
        axes.margins(y=0.12)


def save_plot(figure: Figure, path: Path) -> None:
    """Write a reproducible SVG; texts and legends have the theme's colour.

    Raises:
        OSError: The file cannot be written.
    """
    for axes in figure.axes:
        for text in axes.texts:
            text.set_color(_INK)
        if (legend := axes.get_legend()) is not None:
            legend.get_frame().set_alpha(0)
            legend.get_frame().set_edgecolor("none")
            for text in legend.get_texts():
                text.set_color(_INK)
    with mpl.rc_context({"svg.hashsalt": "aff", "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
