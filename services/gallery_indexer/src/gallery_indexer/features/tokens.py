"""What the extractors found in one image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one feature; none where nothing was found.

    Attributes:
        values: (n, d) float16.
        positions: (n, 2) float16, x then y as shares of width and height; None for a global feature.
    """

    values: NDArray[np.float16]
    positions: NDArray[np.float16] | None = None


ImageFeatures = Mapping[str, Tokens]


def not_finite(features: ImageFeatures) -> list[str]:
    """Return the names of the features that have a NaN, or a value that float16 cannot hold (above 65,504)."""
    return [name for name, tokens in features.items() if not np.isfinite(tokens.values).all()]
