"""Data of the benchmark report: figures, tables, sections, and the machine."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from aff_shared.resource_limits import usable_cores

_PACKAGES = (
    "faiss-cpu",
    "fastapi",
    "litserve",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "pillow",
    "qdrant-client",
    "qdrant-edge-py",
    "torch",
    "transformers",
    "uvicorn",
)
_MIB = 2**20
_WHOLE = 100


class Figure(BaseModel):
    """A figure over several repetitions.

    Attributes:
        median: Median of the repetitions.
        low: Smallest value.
        high: Largest value.
        repetitions: Number of repetitions.
        unit: Unit, such as ms; empty for a ratio.
        goal: Bound for the median; None for an informative figure.
        sense: Whether the goal is a lower or an upper bound.
        note: Remark; the reason where the goal is missed.
    """

    model_config = ConfigDict(frozen=True)

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
    """Summarise repetitions.

    Args:
        values: One value per repetition, at least one.
        unit: Unit, such as ms; empty for a ratio.
        at_least: Goal of a figure that should be large.
        at_most: Goal of a figure that should be small; not both.
        note: Remark.
    """
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


def ratio_of(
    first: Sequence[float],
    second: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Return `first_over_second` of repetitions that were measured in turn: one ratio per pair."""
    pairs = [one / other for one, other in zip(first, second, strict=True)]
    return figure(pairs, at_least=at_least, at_most=at_most, note=note)


def shown(value: float) -> str:
    """Return a number with three significant digits; whole from 100 up."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


class Table(BaseModel):
    """A table of the report.

    Attributes:
        title: Caption.
        columns: Column headings.
        rows: Cells as text, one per column.
    """

    model_config = ConfigDict(frozen=True)

    title: str
    columns: list[str]
    rows: list[list[str]]


class Machine(BaseModel):
    """A machine and its software.

    Attributes:
        processor: Processor model.
        cores: Cores that this process may use.
        memory_mib: Total memory.
        system: Operating system and kernel.
        python: Python version.
        packages: Versions of the installed packages that affect the figures.
        card: GPU model, or None.
        commit: Commit of the repository, marked if the working tree differs; None outside of a repository.
    """

    model_config = ConfigDict(frozen=True)

    processor: str
    cores: int
    memory_mib: int
    system: str
    python: str
    packages: dict[str, str]
    card: str | None
    commit: str | None


class Section(BaseModel):
    """The results of one comparison.

    Attributes:
        key: Key of the section in `bench.json`.
        title: Heading.
        text: Markdown paragraphs that describe the comparison.
        figures: Figures by key; a ratio is called `x_over_y`.
        tables: Tables of the page.
        plots: File names of SVG images in the report's directory.
        settings: Seeds, sizes and counts of the measurement.
        details: All other measured values, for programs.
        seconds: Duration of the measurement.
        elsewhere: Machine of the measurement, if it is not the report's.
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
    """The inputs of every section.

    Attributes:
        bundle: Directory of the model bundle.
        out: Directory of the report and its plots.
        repetitions: Repetitions per measurement, summarised by the median.
        gallery: Number of images in the searched gallery.
        sizes: Gallery sizes of the store comparison, in images.
        grocery: The list `open_set.csv` of real photographs, or None.
        ablations: Directory of the results of `aff ablate`.
    """

    bundle: Path
    out: Path
    repetitions: int
    gallery: int
    sizes: Sequence[int]
    grocery: Path | None
    ablations: Path


def this_machine() -> Machine:
    """Return a description of this machine."""
    import torch  # noqa: PLC0415 - slow to import

    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB,
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        packages=_versions(),
        card=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        commit=_commit(),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
