"""Names of figures as people write them."""

from __future__ import annotations

_NAMES = {"map": "mAP", "recall": "R", "mp": "mP"}


def figure_name(key: str) -> str:
    """Return `mAP@100` for `map_at_100`, `R@1` for `recall_at_1`, `mP@5` for `mp_at_5`."""
    figure, _, rank = key.partition("_at_")
    return f"{_NAMES[figure]}@{rank}" if rank else _NAMES[figure]
