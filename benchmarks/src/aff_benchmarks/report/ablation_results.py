"""What `aff ablate` found, for the report."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FULL = "full"
BASELINES = {
    FULL: "AFF: four features, transformer, ArcFace and decoupled regression, momentum",
    "raw_cnn_a_gem": "one global feature as it is, regression (the usual asymmetric search)",
    "raw_cnn_b_gem": "another global feature as it is, regression",
    "single_cnn_a_gem": "one global feature through the transformer",
    "single_cnn_b_gem": "another global feature through the transformer",
    "mlp": "four features, MLP",
    "laff": "four features, LAFF",
    "orthogonal": "four features, orthogonal fusion",
    "csd": "four features, CSD",
    "lce": "four features, LCE",
    "reg": "four features, regression alone",
    "arcface_0.99": "four features, ArcFace alone",
    "arcface_two_stage": "four features, ArcFace alone, mixer first and query encoder afterwards",
}
"""Variants of the ablation, and what they are."""

FUSED_RIVALS = ("mlp", "laff", "orthogonal")
SINGLES = ("raw_cnn_a_gem", "raw_cnn_b_gem", "single_cnn_a_gem", "single_cnn_b_gem")


@dataclass(frozen=True, slots=True)
class AblationResult:
    """One benchmark's results.

    Attributes:
        name: Of the file.
        protocol: In words.
        maps: mAP of each seed, by variant and by pairing (asymmetric, symmetric, light_only).
    """

    name: str
    protocol: str
    maps: Mapping[str, Mapping[str, list[float]]]

    def mean(self, variant: str, pairing: str) -> float:
        """Return the mean over seeds, from 0 to 1."""
        return statistics.mean(self.maps[variant][pairing])

    def cell(self, variant: str, pairing: str) -> str:
        """Return mean and sample deviation over seeds in percent."""
        values = [100 * value for value in self.maps[variant][pairing]]
        spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.1f}{spread}"


def read_ablation(path: Path) -> AblationResult | None:
    """Return the results of a file of `aff ablate`; None where it is not there."""
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    maps = {name: variant["map"] for name, variant in found["variants"].items() if variant["seeds"]}
    return AblationResult(path.stem, found["protocol"], maps)
