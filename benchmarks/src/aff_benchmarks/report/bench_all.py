"""Measures every section, one after the other, and writes the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping

from pydantic import ValidationError

from aff_benchmarks.report.accuracy import accuracy
from aff_benchmarks.report.accuracy_over_cost import accuracy_over_cost
from aff_benchmarks.report.index_cost import index_cost
from aff_benchmarks.report.machine import this_machine
from aff_benchmarks.report.query_cost import query_cost
from aff_benchmarks.report.report import BenchReport, read_report, write_report
from aff_benchmarks.report.section import BenchContext, Section
from aff_benchmarks.report.store_cost import store_cost
from aff_benchmarks.report.training_and_features import training_and_features

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
