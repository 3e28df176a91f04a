"""The figures of a bundle under one protocol, as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from aff_toolkit.export.export_gate import EXPORT_FIGURES

_FIGURES = {"map": "mAP", "map_at_100": "mAP@100", "recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10"}


def metrics_tables(metrics: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table for each protocol in a manifest's metrics; what stands there of the export is no protocol's."""
    yield from (metrics_table(measured) for name, measured in metrics.items() if name != EXPORT_FIGURES)


def metrics_table(protocol: Mapping[str, Any]) -> Table:
    """Return a row for each pairing of the encoders, in percent; below them those of the bundle that was trained on."""
    table = Table("percent", *_FIGURES.values(), title=protocol["protocol"], title_justify="left")
    for heading, key in (("{}", "scores"), ("{}, before", "before")):
        for pairing, scores in protocol.get(key, {}).items():
            table.add_row(heading.format(pairing), *(f"{100 * scores[figure]:.1f}" for figure in _FIGURES))
    return table


def fallen(metrics: Mapping[str, Any]) -> list[str]:
    """Return the protocols on which asymmetric search finds less than with the bundle that was trained on."""
    return [
        protocol["protocol"]
        for name, protocol in metrics.items()
        if name != EXPORT_FIGURES
        and protocol.get("before")
        and protocol["scores"]["asymmetric"]["map"] < protocol["before"]["asymmetric"]["map"]
    ]
