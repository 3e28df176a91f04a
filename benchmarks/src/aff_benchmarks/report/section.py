"""A section of the report: one comparison."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from aff_shared.resource_limits import usable_cores


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


class Figure(BaseModel):
    """A figure of several repetitions.

    Attributes:
        median: Of the repetitions.
        low: The least.
        high: The largest.
        repetitions: How many there were.
        unit: Such as ms; empty for a ratio.
        goal: That the median is held to; None for a figure that only informs.
        sense: Whether the goal is a least or a largest value.
        note: What there is to say of it; where the goal is missed, the reason.
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
        """Whether the goal is met; None where there is none."""
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
    """Sum up repetitions.

    Args:
        values: One of each repetition, at least one.
        unit: Such as ms; empty for a ratio.
        at_least: Goal of a figure that should be large.
        at_most: Goal of a figure that should be small; not both.
        note: What there is to say of it.
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
    """Return `first_over_second`, of repetitions that were measured in turn: each pair gives one ratio."""
    pairs = [one / other for one, other in zip(first, second, strict=True)]
    return figure(pairs, at_least=at_least, at_most=at_most, note=note)


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


class Machine(BaseModel):
    """The machine and its software.

    Attributes:
        processor: Its name.
        cores: That this process may use.
        memory_mib: In all.
        system: Operating system and kernel.
        python: Version.
        packages: Versions of what the figures depend on, where it is installed.
        card: Graphics card, or None.
        commit: Of the repository, marked where the working tree differs; None outside of one.
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


def this_machine() -> Machine:
    """Return a description of this machine."""
    import torch  # noqa: PLC0415 - a while to import

    return Machine(
        processor=_processor(),
        cores=usable_cores(),
        memory_mib=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB,
        system=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
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
