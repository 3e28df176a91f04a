"""The interface of a gallery encoder, and the types of its input and output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.schemas.preprocessing import Preprocessing

Pixels = NDArray[np.uint8]
EncoderInput = tuple[Pixels, ...]
"""The pixels of one photograph: (h, w, 3) uint8 RGB for each extractor, at its input size."""


class BatchTooLargeError(Exception):
    """The device has too little memory for a batch; a smaller batch may fit."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one feature of one image; empty if the extractor found nothing.

    Attributes:
        values: (n, d) float16.
        positions: (n, 2) float16, x then y as shares of width and height; None for a global feature.
    """

    values: NDArray[np.float16]
    positions: NDArray[np.float16] | None = None


ImageFeatures = Mapping[str, Tokens]
"""The features of one image, by name."""


def not_finite(features: ImageFeatures) -> list[str]:
    """Return the names of features with a NaN or a value beyond the range of float16 (65,504)."""
    return [name for name, tokens in features.items() if not np.isfinite(tokens.values).all()]


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """The output of an encoder for one photograph.

    Attributes:
        embedding: (D,) float32, unit length.
        extractors: Names of the extractors that found something in it, in the bundle's order.
        features: The extractors' features; None unless requested.
    """

    embedding: NDArray[np.float32]
    extractors: tuple[str, ...]
    features: ImageFeatures | None = None


class ImageEncoder(Protocol):
    """Embeds batches of photographs. Calls come from one thread at a time."""

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """The preprocessing of each extractor, in their order."""
        ...

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> Sequence[EncodedImage]:
        """Embed a batch.

        Raises:
            BatchTooLargeError: The device has too little memory for it.
        """
        ...

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """Embed a batch from its features, without running an extractor: (B, D) float32, unit length."""
        ...


class EncoderLoader(Protocol):
    """Loads the gallery side of a bundle whose files have been verified."""

    def __call__(self, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
        """Load the encoder; raises BundleError or MissingExtraError."""
        ...
