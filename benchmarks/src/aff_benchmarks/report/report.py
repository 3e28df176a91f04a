"""The benchmark report: measures the sections, and writes `bench.json` and `README.md`."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import ValidationError

from aff_benchmarks.records import FrozenModel
from aff_benchmarks.report.accuracy import accuracy
from aff_benchmarks.report.accuracy_over_cost import accuracy_over_cost
from aff_benchmarks.report.query_cost import query_cost
from aff_benchmarks.report.section import BenchContext, Figure, Machine, Section, Table, shown
from aff_benchmarks.report.store_cost import store_cost
from aff_benchmarks.report.throughput import index_cost, training_and_features
from aff_shared.resource_limits import usable_cores

SECTIONS: Mapping[str, Callable[[BenchContext], Section]] = {
    "query_cost": query_cost,
    "index_cost": index_cost,
    "store": store_cost,
    "accuracy": accuracy,
    "accuracy_over_cost": accuracy_over_cost,
    "training_and_features": training_and_features,
}
_PACKAGES = (
    *("faiss-cpu", "fastapi", "litserve", "numpy", "onnxruntime", "opencv-python-headless", "pillow", "qdrant-client"),
    *("qdrant-edge-py", "torch", "transformers", "uvicorn"),
)
_MIB = 2**20
_RESULT, _PAGE = "bench.json", "README.md"
_HOW = """Figures are medians of repetitions that were measured in turn, with the smallest and the largest value.
Compare ratios within one run; milliseconds differ between machines, and between runs on a shared machine. `bench.json`
has all values."""


class BenchReport(FrozenModel):
    """All measured values, by section in the order of the page; `finished` is the time of the last measurement."""

    machine: Machine
    finished: datetime
    sections: dict[str, Section]


def bench_all(context: BenchContext, only: Collection[str], progress: Callable[[str], None]) -> BenchReport:
    """Measure all sections, or some, and rewrite the report after each; `progress` is called with each key before.

    The sections that are not in `only` are kept from an earlier run, and marked if that was on another machine.
    """
    context.out.mkdir(parents=True, exist_ok=True)
    machine = this_machine()
    found = _earlier_sections(context.out, machine) if only else {}
    for key, measure in SECTIONS.items():
        if only and key not in only:
            continue
        progress(key)
        began = time.perf_counter()
        section = measure(context)
        found[key] = section.model_copy(update={"seconds": time.perf_counter() - began})
        report = write_report(context.out, machine, [found[name] for name in SECTIONS if name in found])
    return report


def _earlier_sections(out: Path, here: Machine) -> dict[str, Section]:
    try:
        report = read_report(out)
    except (OSError, ValidationError):
        return {}
    there = report.machine
    if here.model_copy(update={"commit": None}) == there.model_copy(update={"commit": None}):
        return dict(report.sections)
    return {
        key: section.model_copy(update={"elsewhere": section.elsewhere or there})
        for key, section in report.sections.items()
    }


def write_report(out: Path, machine: Machine, sections: list[Section]) -> BenchReport:
    """Write the report as JSON and as a page."""
    report = BenchReport(
        machine=machine, finished=datetime.now(UTC).replace(microsecond=0), sections={one.key: one for one in sections}
    )
    (out / _RESULT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (out / _PAGE).write_text(_page(report), encoding="utf-8")
    return report


def read_report(out: Path) -> BenchReport:
    """Read a report.

    Raises:
        OSError: The report cannot be read.
        ValidationError: The file is not a report.
    """
    return BenchReport.model_validate_json((out / _RESULT).read_text(encoding="utf-8"))


def _page(report: BenchReport) -> str:
    lines = [
        "# Benchmark report",
        "",
        f"`aff bench all`, {report.finished:%Y-%m-%d}. Machine, unless a section names another: "
        f"{_described(report.machine)}.",
        "",
        _HOW,
        "",
        *_missed(report),
    ]
    for section in report.sections.values():
        lines += _section(section)
    return "\n".join(lines).rstrip() + "\n"


def _described(machine: Machine) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    return (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_mib / 1024:.0f} GiB, "
        f"{machine.card or 'no GPU'}, {machine.system}, Python {machine.python}; {packages}; "
        f"commit {machine.commit or 'unknown'}"
    )


def _missed(report: BenchReport) -> list[str]:
    missed = [
        f"- {section.title}: `{key}` is {shown(one.median)}, goal {_goal(one)}. {one.note}".rstrip()
        for section in report.sections.values()
        for key, one in section.figures.items()
        if one.met is False
    ]
    return ["## Missed goals", "", *(missed or ["None."]), ""]


def _section(section: Section) -> list[str]:
    lines = [f"## {section.title}", "", section.text.strip(), ""]
    if section.elsewhere is not None:
        lines += [f"Measured on another machine than the other sections: {_described(section.elsewhere)}.", ""]
    if section.figures:
        lines += ["| figure | median | range | goal | |", "|---|---|---|---|---|"]
        lines += [_row(key, one) for key, one in section.figures.items()] + [""]
    for table in section.tables:
        lines += _table(table)
    lines += [line for plot in section.plots for line in (f"![{section.title}]({plot})", "")]
    settings = ", ".join(f"{key} {value}" for key, value in section.settings.items())
    return [*lines, f"Settings: {settings or 'none'}. Duration: {section.seconds:,.0f} s.", ""]


def _row(key: str, one: Figure) -> str:
    unit = f" {one.unit}" if one.unit else ""
    spread = f"{shown(one.low)} to {shown(one.high)}" if one.repetitions > 1 else "once"
    verdict = {None: "", True: "met", False: "**missed**"}[one.met]
    cells = [f"`{key}`", f"{shown(one.median)}{unit}", spread, _goal(one), f"{verdict} {one.note}".strip()]
    return f"| {' | '.join(cells)} |"


def _goal(one: Figure) -> str:
    return "" if one.goal is None else f"{one.sense} {one.goal:g}"


def _table(table: Table) -> list[str]:
    rule = "|".join("---" for _ in table.columns)
    rows = [f"| {' | '.join(row)} |" for row in table.rows]
    return [f"**{table.title}**", "", f"| {' | '.join(table.columns)} |", f"|{rule}|", *rows, ""]


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
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None
