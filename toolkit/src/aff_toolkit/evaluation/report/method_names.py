"""Names of modes and baselines as people write them."""

from __future__ import annotations

from aff_toolkit.evaluation.evaluation_config import BASELINE_DIMENSIONS, Method

_NAMES: dict[Method, str] = {
    "asymmetric": "asymmetric",
    "symmetric": "symmetric",
    "light-only": "light only (query encoder on both sides)",
    "colour-histogram": "colour histogram",
    "rootsift-vlad": "RootSIFT + VLAD",
}


def method_name(method: Method) -> str:
    """Return the name of a mode, or that of a baseline with its dimension: `RootSIFT + VLAD, 8,192-d`."""
    return _NAMES[method] + (f", {BASELINE_DIMENSIONS[method]:,}-d" if method in BASELINE_DIMENSIONS else "")
