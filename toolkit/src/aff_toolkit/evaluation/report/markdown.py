"""`report.md`: the report for people."""

from __future__ import annotations

from collections.abc import Iterator

from aff_toolkit.evaluation.evaluation_config import BASELINES
from aff_toolkit.evaluation.report.evaluation_report import EvaluationReport
from aff_toolkit.evaluation.report.figure_names import figure_name

_SHOWN = 10
_BASELINES = (
    "The colour histogram (8 x 8 x 8 boxes of hue, saturation and value) and RootSIFT + VLAD (64 centres, fitted "
    "without labels on photographs of this gallery) need no training and no bundle."
)
_NO_BASELINES = "The baselines that need no training were not measured; exact search with `--baselines` measures them."


def report_markdown(report: EvaluationReport) -> str:
    """Return the report as Markdown, figures in percent."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: EvaluationReport) -> Iterator[str]:
    yield f"# {report.title}"
    yield ""
    yield report.protocol
    yield ""
    yield f"Bundle `{report.bundle}`, fingerprint `{report.fingerprint}`, embedding space `{report.space_id}`."
    yield ""
    yield f"Configuration: `{report.configuration.model_dump_json()}`"
    for setup in next(iter(report.modes.values())).setups:
        yield from ["", f"## {setup}", "", *_table(report, setup)]
    yield from ["", "![precision and recall](precision_recall.png)", "", "![queries](queries.png)", ""]
    yield from ["## Time", ""]
    for measured in report.modes.values():
        steps = ", ".join(f"{name.replace('_', ' ')} {seconds:.3g} s" for name, seconds in measured.seconds.items())
        yield f"- {measured.name}: {steps}"
    yield from _unreadable(report)


def _table(report: EvaluationReport, setup: str) -> Iterator[str]:
    figures = list(next(iter(report.modes.values())).setups[setup].figures)
    headings = ["percent", *map(figure_name, figures), "queries scored", "left out"]
    yield "| " + " | ".join(headings) + " |"
    yield "|" + "---|" * len(headings)
    for measured in report.modes.values():
        scores = measured.setups[setup]
        cells = [f"{100 * scores.figures[name]:.2f}" for name in figures]
        yield "| " + " | ".join([measured.name, *cells, str(scores.queries), str(scores.left_out)]) + " |"
    yield ""
    yield "Left out: queries without a positive in the gallery."
    yield ""
    yield _BASELINES if report.modes.keys() & set(BASELINES) else _NO_BASELINES


def _unreadable(report: EvaluationReport) -> Iterator[str]:
    for measured in report.modes.values():
        for what, reasons in (
            ("queries could not be read and score 0", measured.unreadable_queries),
            ("gallery images could not be read and are in no ranking", measured.unreadable_gallery),
        ):
            if reasons:
                yield from [
                    "",
                    f"{measured.name}: {len(reasons)} {what}:",
                    "",
                    *(f"- {reason}" for reason in reasons[:_SHOWN]),
                ]
                if len(reasons) > _SHOWN:
                    yield f"- and {len(reasons) - _SHOWN} more, in report.json"
