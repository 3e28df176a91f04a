"""The report of an ablation: verdicts and figures as JSON and Markdown, and plots."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aff_benchmarks.ablation.ablation_config import AblationConfig, ResultNotWrittenError
from aff_benchmarks.ablation.comparison import Comparison, ComparisonResult, JudgedFinding, judge_finding, runs_by_seed
from aff_benchmarks.ablation.grid import FULL, Grid, first, momentum, single
from aff_benchmarks.ablation.variant import Pairing, RunResult
from aff_benchmarks.records import FrozenModel
from aff_toolkit.evaluation.protocols import Protocol

PAIRINGS: tuple[Pairing, ...] = ("asymmetric", "symmetric", "light_only")
_COLOURS: dict[Pairing, str] = {"asymmetric": "tab:blue", "symmetric": "tab:orange"}
_LINES = ("solid", "dotted", "dashed")
_DPI = 110
_HEAD = """# Ablation: {benchmark}

Protocol: {protocol}. Seeds: {seeds}. mAP in percent, differences in
points.

A comparison holds if the statistic is above its threshold in every seed (at least three), and the 95 %
interval over queries (paired bootstrap) is above it too; it fails if both are below; otherwise it is
inconclusive.

## Findings

| # | claim | verdict | comparison | mean | deviation | 95 % over queries | per seed |
|---|---|---|---|---|---|---|---|"""
_VARIANTS = """
## Variants

| variant | asymmetric | symmetric | light only | seeds |
|---|---|---|---|---|"""


class AblationReport(FrozenModel):
    """The results of an ablation on one benchmark, 0 to 1; `variants` have settings, and mAPs by pairing and seed."""

    benchmark: str
    protocol: str
    seeds: tuple[int, ...]
    variants: Mapping[str, Any]
    findings: tuple[JudgedFinding, ...]
    questions: tuple[JudgedFinding, ...]
    configuration: Mapping[str, Any]


def make_report(config: AblationConfig, protocol: Protocol, grid: Grid, runs: Sequence[RunResult]) -> AblationReport:
    """Evaluate every finding on the finished runs of one benchmark.

    If the configuration has several benchmarks, the protocol's name is appended to its name.
    """
    several = (config.recipe.evaluation.scenes is not None) + len(config.recipe.evaluation.open_sets) > 1
    judged = [judge_finding(finding, runs) for finding in grid.findings]
    return AblationReport(
        benchmark=f"{config.name}-{protocol.name.replace('_', '-')}" if several else config.name,
        protocol=protocol.description,
        seeds=config.seeds,
        variants={
            variant.name: variant.model_dump(mode="json", exclude={"name"}) | _figures_of(variant.name, runs)
            for variant in grid.variants
        },
        findings=tuple(one for one in judged if one.number is not None),
        questions=tuple(one for one in judged if one.number is None),
        configuration=config.model_dump(mode="json"),
    )


def _figures_of(variant: str, runs: Sequence[RunResult]) -> dict[str, Any]:
    own = list(runs_by_seed(runs, variant).values())
    return {
        "seeds": [run.seed for run in own],
        "map": {pairing: [run.scores[pairing].map for run in own] for pairing in PAIRINGS if own},
        "recall_at_1": {pairing: [run.scores[pairing].recall_at_1 for run in own] for pairing in PAIRINGS if own},
        "seconds": [round(run.seconds, 1) for run in own],
        "images_per_s": [round(run.images_per_s) for run in own],
    }


def write_report(report: AblationReport, directory: Path) -> Path:
    """Write `<benchmark>.json` and `<benchmark>.md`; return the latter.

    Raises:
        ResultNotWrittenError: A file cannot be written.
    """
    page = directory / f"{report.benchmark}.md"
    with _reported_as_not_written(directory):
        directory.mkdir(parents=True, exist_ok=True)
        document = json.dumps(_rounded(report.model_dump(mode="json")), indent=1)
        page.with_suffix(".json").write_text(document + "\n", encoding="utf-8")
        page.write_text(_markdown(report), encoding="utf-8")
    return page


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def _markdown(report: AblationReport) -> str:
    seeds = ", ".join(map(str, report.seeds))
    lines = [_HEAD.format(benchmark=report.benchmark, protocol=report.protocol, seeds=seeds)]
    judged = (*report.findings, *report.questions)
    for finding in judged:
        lines += _rows_of(finding) if finding.was_run else []
    not_run = [finding.claim for finding in judged if not finding.was_run]
    if not_run:
        lines += ["", "Not run:", "", *(f"- {claim}" for claim in not_run)]
    lines.append(_VARIANTS)
    for name, variant in report.variants.items():
        if variant["seeds"]:
            cells = [mean_and_deviation(variant["map"].get(pairing, [])) for pairing in PAIRINGS]
            lines.append(f"| {name} | {' | '.join(cells)} | {len(variant['seeds'])} |")
    lines += ["", f"![Plots]({report.benchmark}.png)", ""]
    return "\n".join(lines)


def _rows_of(finding: JudgedFinding) -> list[str]:
    rows = []
    for place, figure in enumerate((*finding.figures, *finding.informative)):
        number = ("" if finding.number is None else str(finding.number)) if place == 0 else ""
        claim, verdict = (finding.claim, f"**{finding.verdict}**") if place == 0 else ("", "")
        shown = figure.verdict if place < len(finding.figures) else f"({figure.verdict})"
        rows.append(f"| {number} | {claim} | {verdict} | {figure.label}: {shown} | {' | '.join(_cells(figure))} |")
    return rows


def _cells(figure: ComparisonResult) -> list[str]:
    if figure.mean is None or figure.low is None or figure.high is None:
        return ["", "", "", "not run"]
    deviation = "" if figure.deviation is None else _number(figure, figure.deviation, signed=False)
    interval = f"{_number(figure, figure.low)} to {_number(figure, figure.high)}"
    each = ", ".join(_number(figure, value) for value in figure.per_seed)
    return [_number(figure, figure.mean), deviation, interval, each]


def _number(comparison: Comparison, value: float, *, signed: bool = True) -> str:
    if comparison.statistic == "ratio":
        return f"{value:.3f}"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def mean_and_deviation(shares: Sequence[float]) -> str:
    """Return mean and sample deviation in percent, such as `40.0 ± 14.1`; empty without values."""
    if not shares:
        return ""
    deviation = f" ± {100 * np.std(shares, ddof=1):.1f}" if len(shares) > 1 else ""
    return f"{100 * np.mean(shares):.1f}{deviation}"


@dataclass(frozen=True)
class _Panel:
    title: str
    labels: dict[str, str]
    line: str = "solid"
    x_label: str = ""


def write_plots(report: AblationReport, config: AblationConfig, path: Path) -> None:
    """Write a PNG of the panels with at least two finished variants: means and sample deviations over seeds."""
    panels = [
        panel for panel in _panels(config) if sum(bool(report.variants[name]["seeds"]) for name in panel.labels) > 1
    ]
    figure = Figure(figsize=(13 / 3 * max(1, len(panels)), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, panel in enumerate(panels, start=1):
        axes = figure.add_subplot(1, len(panels), number)
        _draw(axes, report, panel)
        if number == 1:
            axes.legend()
    shown = f"mAP in percent, {len(report.seeds)} seeds" if panels else "too few runs to compare"
    figure.suptitle(f"{report.benchmark}: {shown}")
    _save(figure, path)


def _panels(config: AblationConfig) -> tuple[_Panel, ...]:
    names = config.features
    added = {single(names[0]): names[0]}
    added |= {first(count, len(names)): f"+ {names[count - 1]}" for count in range(2, len(names) + 1)}
    alphas = {momentum(alpha, config.recipe.joint.losses): f"{alpha:g}" for alpha in config.alphas}
    mixers = {FULL: "transformer", "mlp": "mlp", "laff": "laff", "orthogonal": "orthogonal"}
    return (
        _Panel("ArcFace with a momentum classifier", alphas, x_label="alpha"),
        _Panel("Features added one by one", added),
        _Panel("Mixers", mixers, line="none"),
    )


def _draw(axes: Axes, report: AblationReport, panel: _Panel) -> None:
    for pairing, colour in _COLOURS.items():
        rows = [report.variants[name]["map"].get(pairing, []) for name in panel.labels]
        places = [place for place, row in enumerate(rows) if row]
        means = [100 * float(np.mean(rows[place])) for place in places]
        spreads = [100 * float(np.std(rows[place], ddof=1)) if len(rows[place]) > 1 else 0.0 for place in places]
        axes.errorbar(
            places, means, yerr=spreads, color=colour, marker="o", linestyle=panel.line, capsize=4, label=pairing
        )
    axes.set_xticks(range(len(panel.labels)), list(panel.labels.values()), rotation=0 if panel.x_label else 20)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel="mAP")
    axes.grid(axis="y", alpha=0.3)


def write_curves(title: str, runs: Sequence[RunResult], path: Path) -> None:
    """Write a PNG of mAP over epochs, one line per variant; of two-stage trainings the second stage."""
    figure = Figure(figsize=(14, 6), layout="constrained")
    FigureCanvasAgg(figure)
    drawn = sorted((run for run in runs if run.curve), key=lambda run: run.variant)
    for number, pairing in enumerate(_COLOURS, start=1):
        axes = figure.add_subplot(1, len(_COLOURS), number)
        for place, run in enumerate(drawn):
            epochs, maps = zip(*((point.epoch, 100 * point.map[pairing]) for point in run.curve), strict=True)
            axes.plot(epochs, maps, color=f"C{place % 10}", linestyle=_LINES[place // 10 % 3], label=run.variant)
        axes.set(title=pairing, xlabel="epochs", ylabel="mAP")
        axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize="small")
    figure.suptitle(f"{title}: mAP in percent during the training, one seed")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with _reported_as_not_written(path):
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


@contextmanager
def _reported_as_not_written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResultNotWrittenError(f"{error.strerror}", item=str(path)) from error
