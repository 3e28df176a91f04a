"""`bench.json` and `README.md` of a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aff_benchmarks.report.accuracy import accuracy
from aff_benchmarks.report.accuracy_over_cost import accuracy_over_cost
from aff_benchmarks.report.query_cost import query_cost
from aff_benchmarks.report.section import BenchContext, Figure, Machine, Section, Table, this_machine
from aff_benchmarks.report.store_cost import store_cost
from aff_benchmarks.report.throughput import index_cost, training_and_features

_RESULT, _PAGE = "bench.json", "README.md"
_WHOLE = 100
_HOW = """Figures are medians of repetitions that were taken in turn, with the least and the largest behind them. Ratios
of one run count; milliseconds differ between machines, and between runs of a shared one. All is in `bench.json`."""


class BenchReport(BaseModel):
    """Everything that was measured.

    Attributes:
        machine: On which.
        finished: When.
        sections: By key, in the order of the page.
    """

    model_config = ConfigDict(frozen=True)

    machine: Machine
    finished: datetime
    sections: dict[str, Section]


def write_report(out: Path, machine: Machine, sections: list[Section]) -> BenchReport:
    """Write the report for machines and for people.

    Raises:
        OSError: It cannot be written.
    """
    report = BenchReport(
        machine=machine, finished=datetime.now(UTC).replace(microsecond=0), sections={one.key: one for one in sections}
    )
    (out / _RESULT).write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (out / _PAGE).write_text(_page(report), encoding="utf-8")
    return report


def read_report(out: Path) -> BenchReport:
    """Read a report again.

    Raises:
        OSError: It is not there.
        ValidationError: It is none.
    """
    return BenchReport.model_validate_json((out / _RESULT).read_text(encoding="utf-8"))


def shown(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


def _page(report: BenchReport) -> str:
    lines = [
        "# Measured side by side",
        "",
        f"`aff bench all`, {report.finished:%Y-%m-%d}. The machine, where a section names no other: "
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
        f"{machine.card or 'no graphics card'}, {machine.system}, Python {machine.python}; {packages}; "
        f"commit {machine.commit or 'unknown'}"
    )


def _missed(report: BenchReport) -> list[str]:
    missed = [
        f"- {section.title}: `{key}` is {shown(one.median)}, wanted {_goal(one)}. {one.note}".rstrip()
        for section in report.sections.values()
        for key, one in section.figures.items()
        if one.met is False
    ]
    return ["## Goals that were missed", "", *(missed or ["None."]), ""]


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
    return [*lines, f"Settings: {settings or 'none'}. It took {section.seconds:,.0f} s.", ""]


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


SECTIONS: Mapping[str, Callable[[BenchContext], Section]] = {
    "query_cost": query_cost,
    "index_cost": index_cost,
    "store": store_cost,
    "accuracy": accuracy,
    "accuracy_over_cost": accuracy_over_cost,
    "training_and_features": training_and_features,
}


def bench_all(context: BenchContext, only: Collection[str], told: Callable[[str], None]) -> BenchReport:
    """Measure, and write the report anew after each section.

    Args:
        context: Of the sections.
        only: Keys of the sections to measure; the others stay as an earlier run left them, marked where that was on
            another machine. Empty for all.
        told: Is given a line before each section.

    Raises:
        OSError: The report cannot be written.
    """
    context.out.mkdir(parents=True, exist_ok=True)
    machine = this_machine()
    found = _kept(context) if only else {}
    for key, measure in SECTIONS.items():
        if only and key not in only:
            continue
        told(key)
        began = time.perf_counter()
        section = measure(context)
        found[key] = section.model_copy(update={"seconds": time.perf_counter() - began})
        report = write_report(context.out, machine, [found[name] for name in SECTIONS if name in found])
    return report


def _kept(context: BenchContext) -> dict[str, Section]:
    try:
        report = read_report(context.out)
    except (OSError, ValidationError):
        return {}
    here, there = this_machine(), report.machine
    if here.model_copy(update={"commit": None}) == there.model_copy(update={"commit": None}):
        return dict(report.sections)
    return {
        key: section.model_copy(update={"elsewhere": section.elsewhere or there})
        for key, section in report.sections.items()
    }
