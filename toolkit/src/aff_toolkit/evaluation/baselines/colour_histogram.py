"""The baseline by colours alone: a joint histogram of hue, saturation and value (Swain and Ballard, IJCV 1991)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.preprocessing import Preprocessing, preprocess

COLOUR_HISTOGRAM_SIZE = 256

_BINS = 8
_PREPROCESSING = Preprocessing(resize="longest_side", size=COLOUR_HISTOGRAM_SIZE)
# OpenCV's hue of 8-bit pixels counts steps of two degrees.
_RANGES = [0, 180, 0, 256, 0, 256]


def colour_histograms(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """Return the histograms of B photographs, reduced to a longest side of 256 pixels.

    The components are square roots of the shares of pixels in 8 x 8 x 8 boxes of hue, saturation and value, so that a
    cosine is the Bhattacharyya coefficient of two histograms.

    Args:
        images: B photographs (H, W, 3) uint8 RGB.

    Returns:
        (B, 512) float32, unit length.
    """
    return np.stack([_histogram(preprocess(image, _PREPROCESSING)) for image in images])


def _histogram(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], None, [_BINS] * 3, _RANGES).ravel()
    return np.asarray(np.sqrt(counts / counts.sum()), np.float32)
