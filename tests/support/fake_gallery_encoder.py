"""An honest fake of the gallery encoder: the embedding of a photograph is its mean colour."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.image_encoder import (
    BatchTooLargeError,
    EncodedImage,
    EncoderInput,
    ImageFeatures,
    Tokens,
)

Colour = tuple[int, int, int]


class FakeGalleryEncoder:
    """Embeds into 4 dimensions: mean red, green and blue from 0 to 1, and a constant 1; then unit length.

    Its one extractor, `eye`, finds nothing in a black photograph. The encoder raises on a batch with a photograph whose
    first pixel is `poison`, runs out of memory on more than `fits` photographs, and waits in `encode` while `gate` is
    cleared. `batch_sizes` has the sizes of its calls, and `called` is set by each.
    """

    dimension = 4
    decode_min_side = 16
    preprocessings = (Preprocessing(resize="longest_side", size=4096),)

    def __init__(self, *, poison: Colour | None = None, fits: int | None = None) -> None:
        self.batch_sizes: list[int] = []
        self.fits = fits
        self.called = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._poison = poison

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.called.set()
        self.gate.wait(timeout=10)
        if self.fits is not None and len(images) > self.fits:
            raise BatchTooLargeError("out of memory")
        self.batch_sizes.append(len(images))
        if any(tuple(image[0, 0]) == self._poison for image in images):
            raise RuntimeError("poisoned")
        means = np.array([[*(image.mean(axis=(0, 1)) / 255), 1.0] for image in images], dtype=np.float32)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means

    def encode_images(self, prepared: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        images = [photograph for (photograph,) in prepared]
        embeddings = self.encode(images)
        return [
            EncodedImage(
                embedding,
                ("eye",) if image.any() else (),
                {"eye": Tokens(embedding[None].astype(np.float16))} if with_features else None,
            )
            for embedding, image in zip(embeddings, images, strict=True)
        ]

    def fuse(self, images: Sequence[ImageFeatures]) -> NDArray[np.float32]:
        return np.stack([image["eye"].values[0].astype(np.float32) for image in images])


def load_fake_gallery_encoder(bundle_directory: Path, manifest: BundleManifest, *, device: str) -> FakeGalleryEncoder:
    """Load it as another process would."""
    return FakeGalleryEncoder()
