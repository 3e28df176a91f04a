"""The figures of a bundle under one protocol, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

_FIGURES = {"map": "mAP", "map_at_100": "mAP@100", "recall_at_1": "R@1", "recall_at_5": "R@5", "recall_at_10": "R@10"}


def metrics_table(protocol: Mapping[str, Any]) -> Table:
    """Return a row for each pairing of the encoders, in percent; below them those of the bundle that was trained on."""
    table = Table("percent", *_FIGURES.values(), title=protocol["protocol"], title_justify="left")
    for heading, key in (("{}", "scores"), ("{}, before", "before")):
        for pairing, scores in protocol.get(key, {}).items():
            table.add_row(heading.format(pairing), *(f"{100 * scores[figure]:.1f}" for figure in _FIGURES))
    return table
