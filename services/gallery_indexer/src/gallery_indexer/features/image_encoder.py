"""What the indexing side needs of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.tokens import ImageFeatures

Pixels = NDArray[np.uint8]
PreparedImage = tuple[Pixels, ...]
"""A photograph as an encoder takes it: (h, w, 3) uint8 RGB for each of its extractors, at their input sizes."""


class BatchTooLargeError(Exception):
    """The device has not enough memory for a batch; a smaller one may fit."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What an encoder makes of a photograph.

    Attributes:
        embedding: (D,) float32, unit length.
        extractors: Names of the extractors that found something in it, in the bundle's order.
        features: What they found; None where that was not asked for.
    """

    embedding: NDArray[np.float32]
    extractors: tuple[str, ...]
    features: ImageFeatures | None = None


class ImageEncoder(Protocol):
    """Embeds batches of photographs."""

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """How photographs are prepared: for each extractor, in their order."""
        ...

    def encode_images(self, images: Sequence[PreparedImage], *, with_features: bool = False) -> Sequence[EncodedImage]:
        """Embed a batch; it is called from one thread, never from two at a time.

        Raises:
            BatchTooLargeError: The device has not enough memory for it.
        """
        ...


@runtime_checkable
class FeatureFuser(Protocol):
    """Embeds images from what extractors found in them."""

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        """Embed a batch from its features alone: (B, D) float32, unit length."""
        ...


class EncoderLoader(Protocol):
    """Loads the gallery side of a bundle whose files have been verified."""

    def __call__(self, bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
        """Load the encoder; raises BundleError or MissingExtraError."""
        ...
