"""Parts of the benchmark report: figures, tables, plots, sections."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib import figure as mpl_figure
from matplotlib.axes import Axes
from pydantic import Field

from aff_benchmarks.records import FrozenModel

_WHOLE = 100
COLOURS = ("#2f81f7", "#e8710a", "#2da44e", "#bf4b8a", "#8b6ff0", "#b08800")  # legible on light and on dark pages
_MARKERS = ("o", "s", "^", "D", "v", "P")
_INK = "#7d8590"  # a grey with a contrast of 4 on white, and of 5 on black
_HEADROOM = 3.0


class Figure(FrozenModel):
    """A figure over several repetitions: their median, smallest and largest value.

    Attributes:
        unit: Unit, such as ms; empty for a ratio.
        goal: Bound for the median; None for an informative figure.
        sense: Whether the goal is a lower or an upper bound.
        note: Remark; the reason where the goal is missed.
    """

    median: float
    low: float
    high: float
    repetitions: int
    unit: str = ""
    goal: float | None = None
    sense: Literal["at least", "at most"] = "at least"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median meets the goal; None without a goal."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.sense == "at least" else self.median <= self.goal


def figure(
    values: Sequence[float],
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Summarise repetitions; the goal is either a lower or an upper bound of their median."""
    return Figure(
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        repetitions=len(values),
        unit=unit,
        goal=at_least if at_least is not None else at_most,
        sense="at least" if at_most is None else "at most",
        note=note,
    )


def ratio_of(first: Sequence[float], second: Sequence[float], **goal: Any) -> Figure:
    """Return `first_over_second` of repetitions that were measured in turn: one ratio per pair.

    Args:
        first: Numerators.
        second: Denominators.
        goal: See `figure`.
    """
    return figure([one / other for one, other in zip(first, second, strict=True)], **goal)


def shown(value: float) -> str:
    """Return a number with three significant digits; whole from 100 up."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


class Table(FrozenModel):
    """A table of the report; every row has one cell per column."""

    title: str
    columns: list[str]
    rows: list[list[str]]


class Machine(FrozenModel):
    """A machine and its software.

    Attributes:
        cores: Cores that the process may use.
        packages: Versions of the installed packages that affect the figures.
        card: GPU model, or None.
        commit: Commit of the repository, marked if the working tree differs; None outside of a repository.
    """

    processor: str
    cores: int
    memory_mib: int
    system: str
    python: str
    packages: dict[str, str]
    card: str | None
    commit: str | None


class Section(FrozenModel):
    """The results of one comparison.

    Attributes:
        text: Markdown paragraphs that describe the comparison.
        figures: Figures by key; a ratio is called `x_over_y`.
        plots: File names of SVG images in the report's directory.
        settings: Seeds, sizes and counts of the measurement.
        details: All other measured values, for programs.
        elsewhere: Machine of the measurement, if it is not the report's.
    """

    key: str
    title: str
    text: str
    figures: dict[str, Figure]
    tables: list[Table] = Field(default_factory=list)
    plots: list[str] = Field(default_factory=list)
    settings: dict[str, Any] = Field(default_factory=dict)
    details: dict[str, Any] = Field(default_factory=dict)
    seconds: float = 0.0
    elsewhere: Machine | None = None


@dataclass(frozen=True, slots=True)
class BenchContext:
    """The inputs of every section: the options of `aff bench all`."""

    bundle: Path
    out: Path
    repetitions: int
    gallery: int
    sizes: Sequence[int]
    grocery: Path | None
    ablations: Path


def new_plot(panels: int = 1, *, width: float = 4.6, height: float = 3.6) -> tuple[mpl_figure.Figure, list[Axes]]:
    """Return a transparent figure with panels side by side, each `width` x `height` inches."""
    with mpl.rc_context({"font.size": 10}):
        drawn = mpl_figure.Figure(figsize=(width * panels, height), layout="constrained")
        axes = [drawn.add_subplot(1, panels, number) for number in range(1, panels + 1)]
    drawn.patch.set_alpha(0)
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
    return drawn, axes


def draw_bars(axes: Axes, heights: Mapping[str, float | None], title: str, *, log: bool = False) -> None:
    """Draw one bar per name of a positive value, with the value above; None for no bar."""
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


def draw_line(axes: Axes, number: int, label: str, x: Sequence[float], y: Sequence[float]) -> None:
    """Draw the line of this number, from 0, with its own colour and marker."""
    axes.plot(x, y, color=COLOURS[number], marker=_MARKERS[number], label=label)


def save_plot(drawn: mpl_figure.Figure, path: Path) -> None:
    """Write a reproducible SVG; texts and legends have the theme's colour."""
    for axes in drawn.axes:
        for text in axes.texts:
            text.set_color(_INK)
        if (legend := axes.get_legend()) is not None:
            legend.get_frame().set_alpha(0)
            legend.get_frame().set_edgecolor("none")
            for text in legend.get_texts():
                text.set_color(_INK)
    with mpl.rc_context({"svg.hashsalt": "aff", "svg.fonttype": "path"}):
        drawn.savefig(path, format="svg", metadata={"Date": None})
