"""A section of the report: one comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.report.figure import Figure
from aff_benchmarks.report.machine import Machine


class Table(BaseModel):
    """Cells are shown as they are.

    Attributes:
        title: Above the table.
        columns: Headings.
        rows: Of as many cells each.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    columns: list[str]
    rows: list[list[str]]


class Section(BaseModel):
    """What one comparison found.

    Attributes:
        key: Of the section in `bench.json`.
        title: For people.
        text: Paragraphs of Markdown: what was compared, and how.
        figures: By key; a ratio is called `x_over_y`.
        tables: For people.
        plots: File names, beside the report, of SVG images.
        settings: Seeds, sizes and counts with which it was measured.
        details: All else that was measured, for machines.
        seconds: That the section took.
        elsewhere: Machine that it was measured on, where that is not the report's.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    title: str
    text: str
    figures: dict[str, Figure]
    tables: list[Table] = []
    plots: list[str] = []
    settings: dict[str, Any] = {}
    details: dict[str, Any] = {}
    seconds: float = 0.0
    elsewhere: Machine | None = None


@dataclass(frozen=True, slots=True)
class BenchContext:
    """What every section is given.

    Attributes:
        bundle: Directory of the model bundle.
        out: Directory of the report; plots are written there.
        repetitions: Of each measurement; its median counts.
        gallery: Images of the gallery that is searched.
        sizes: Images of the galleries of the store's comparison.
        grocery: The list `open_set.csv` of real photographs, or None where it is not at hand.
        ablations: Directory of `aff ablate`'s results.
    """

    bundle: Path
    out: Path
    repetitions: int
    gallery: int
    sizes: Sequence[int]
    grocery: Path | None
    ablations: Path
