"""The report of an ablation: verdicts and figures as JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.ablation.ablation_config import AblationConfig, ResultNotWrittenError
from aff_benchmarks.ablation.comparison import Comparison, ComparisonResult, Verdict, compare
from aff_benchmarks.ablation.grid import Finding, Grid
from aff_benchmarks.ablation.variant import Pairing, RunResult
from aff_toolkit.evaluation.protocols import Protocol

PAIRINGS: tuple[Pairing, ...] = ("asymmetric", "symmetric", "light_only")


class JudgedFinding(BaseModel):
    """A finding and its results.

    Attributes:
        number: Number of the paper's finding; None for a question of this project.
        claim: Text.
        verdict: `holds` if every comparison holds, `fails` if one fails, else `inconclusive`.
        figures: Deciding comparisons.
        informative: Comparisons without effect on the verdict.
    """

    model_config = ConfigDict(frozen=True)

    number: int | None
    claim: str
    verdict: Verdict
    figures: tuple[ComparisonResult, ...]
    informative: tuple[ComparisonResult, ...]

    @property
    def was_run(self) -> bool:
        """Whether any comparison was measured."""
        return any(figure.mean is not None for figure in (*self.figures, *self.informative))


class AblationReport(BaseModel):
    """The results of an ablation on one benchmark; figures from 0 to 1.

    Attributes:
        benchmark: Name of the benchmark.
        protocol: Description of the protocol.
        seeds: Seeds of the configuration.
        variants: Settings by variant, with the mAP of every finished seed by pairing.
        findings: Findings of the paper.
        questions: Questions of this project.
        configuration: Complete configuration.
    """

    model_config = ConfigDict(frozen=True)

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


def judge_finding(finding: Finding, runs: Sequence[RunResult]) -> JudgedFinding:
    """Evaluate the comparisons of a finding."""
    figures = tuple(compare(comparison, runs) for comparison in finding.comparisons)
    verdicts = {figure.verdict for figure in figures}
    verdict: Verdict = "fails" if "fails" in verdicts else "inconclusive" if "inconclusive" in verdicts else "holds"
    return JudgedFinding(
        number=finding.number,
        claim=finding.claim,
        verdict=verdict,
        figures=figures,
        informative=tuple(compare(comparison, runs) for comparison in finding.informative),
    )


def _figures_of(variant: str, runs: Sequence[RunResult]) -> dict[str, Any]:
    own = sorted((run for run in runs if run.variant == variant), key=lambda run: run.seed)
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
    try:
        directory.mkdir(parents=True, exist_ok=True)
        document = json.dumps(_rounded(report.model_dump(mode="json")), indent=1)
        page.with_suffix(".json").write_text(document + "\n", encoding="utf-8")
        page.write_text(markdown(report), encoding="utf-8")
    except OSError as error:
        raise ResultNotWrittenError(f"{error.strerror}", item=str(directory)) from error
    return page


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def markdown(report: AblationReport) -> str:
    """Return the report as a page."""
    lines = [
        f"# Ablation: {report.benchmark}",
        "",
        f"Protocol: {report.protocol}. Seeds: {', '.join(map(str, report.seeds))}. mAP in percent, differences in",
        "points.",
        "",
        "A comparison holds if the statistic is above its threshold in every seed (at least three), and the 95 %",
        "interval over queries (paired bootstrap) is above it too; it fails if both are below; otherwise it is",
        "inconclusive.",
        "",
        "## Findings",
        "",
        "| # | claim | verdict | comparison | mean | deviation | 95 % over queries | per seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    judged = (*report.findings, *report.questions)
    for finding in judged:
        lines += _rows_of(finding) if finding.was_run else []
    not_run = [finding.claim for finding in judged if not finding.was_run]
    if not_run:
        lines += ["", "Not run:", "", *(f"- {claim}" for claim in not_run)]
    lines += [
        "",
        "## Variants",
        "",
        "| variant | asymmetric | symmetric | light only | seeds |",
        "|---|---|---|---|---|",
    ]
    for name, variant in report.variants.items():
        if not variant["seeds"]:
            continue
        cells = [_spread(variant["map"].get(pairing, [])) for pairing in PAIRINGS]
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
    each = ", ".join(_number(figure, value) for value in figure.per_seed)
    return [
        _number(figure, figure.mean),
        deviation,
        f"{_number(figure, figure.low)} to {_number(figure, figure.high)}",
        each,
    ]


def _number(comparison: Comparison, value: float, *, signed: bool = True) -> str:
    if comparison.statistic == "ratio":
        return f"{value:.3f}"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    deviation = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{deviation}"
