"""Figures and their page, with missed goals first."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_benchmarks.report.report import read_report, this_machine, write_report
from aff_benchmarks.report.section import Machine, Section, Table, figure, ratio_of, shown

MACHINE = Machine(
    processor="Slow One",
    cores=2,
    memory_mib=4096,
    system="Linux 6",
    python="3.11.9",
    packages={"numpy": "2.0"},
    card=None,
    commit="abc",
)


def _section(key: str = "query_cost", **figures: object) -> Section:
    return Section.model_validate({"key": key, "title": key.title(), "text": "What.", "figures": figures})


def test_a_figure_is_the_median_with_its_spread() -> None:
    one = figure([3.0, 1.0, 2.0, 10.0, 2.5])
    assert (one.median, one.low, one.high, one.repetitions) == (2.5, 1.0, 10.0, 5)
    assert one.met is None


def test_a_ratio_is_taken_within_each_repetition() -> None:
    assert ratio_of([2.0, 9.0, 4.0], [1.0, 3.0, 4.0]).median == 2.0


@pytest.mark.parametrize(
    ("goal", "met"),
    [({"at_least": 2.0}, True), ({"at_least": 2.1}, False), ({"at_most": 2.0}, True), ({"at_most": 1.9}, False)],
)
def test_the_median_is_compared_with_the_goal(goal: dict[str, float], met: bool) -> None:
    assert figure([1.0, 2.0, 50.0], **goal).met is met  # type: ignore[arg-type]


def test_missed_goals_are_listed_first_with_their_reasons(tmp_path: Path) -> None:
    fine, missed = figure([3.0], at_least=2), figure([1.0], at_least=2, note="It is slow.")
    write_report(tmp_path, MACHINE, [_section(a_over_b=fine, c_over_d=missed)])
    page = (tmp_path / "README.md").read_text()
    top = page.split("## Missed goals")[1].split("\n## ")[0]
    assert "`c_over_d` is 1, goal at least 2. It is slow." in top
    assert "a_over_b" not in top
    assert "| `a_over_b` | 3 | once | at least 2 | met |" in page


def test_the_page_has_tables_plots_and_settings(tmp_path: Path) -> None:
    section = _section().model_copy(
        update={
            "tables": [Table(title="Services", columns=["name", "ms"], rows=[["ours", "5"]])],
            "plots": ["query_cost.svg"],
            "settings": {"seed": 7},
        }
    )
    write_report(tmp_path, MACHINE, [section])
    page = (tmp_path / "README.md").read_text()
    for line in ("| name | ms |", "| ours | 5 |", "![Query_Cost](query_cost.svg)", "Settings: seed 7."):
        assert line in page
    assert "Slow One, 2 cores, 4 GiB, no GPU" in page


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = write_report(tmp_path, MACHINE, [_section(a_over_b=figure([1.5], at_most=2))])
    assert read_report(tmp_path) == written


@pytest.mark.parametrize(("value", "text"), [(12345.6, "12,346"), (99.94, "99.9"), (0.012345, "0.0123"), (1.0, "1")])
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert shown(value) == text


def test_this_machine_is_described() -> None:
    machine = this_machine()
    assert machine.cores >= 1
    assert machine.memory_mib > 100
    assert machine.packages["torch"].startswith("2.13")
