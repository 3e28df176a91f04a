"""Bars with their values above them."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes

from aff_benchmarks.report.report import shown
from aff_benchmarks.report.theme import COLOURS

_HEADROOM = 3.0


def draw_bars(axes: Axes, heights: Mapping[str, float | None], title: str, *, log: bool = False) -> None:
    """Draw a bar for each name, the colours in their order; None leaves its place empty.

    Args:
        axes: Of the theme.
        heights: By name; positive.
        title: Above the bars, with the unit.
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
