"""An honest fake of the gallery encoder: the embedding of a photograph is its mean colour."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gallery_indexer.image_encoder import EncodedImage

Colour = tuple[int, int, int]


class FakeGalleryEncoder:
    """Embeds into 4 dimensions: mean red, green and blue from 0 to 1, and a constant 1; then unit length.

    Its one extractor, `eye`, finds nothing in a black photograph. The encoder raises on a batch with a photograph whose
    first pixel is `poison`, and waits in `encode` while `gate` is cleared. `batch_sizes` tells how it was called.
    """

    dimension = 4
    decode_min_side = 16

    def __init__(self, *, poison: Colour | None = None) -> None:
        self.batch_sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()
        self._poison = poison

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.gate.wait(timeout=10)
        self.batch_sizes.append(len(images))
        if any(tuple(image[0, 0]) == self._poison for image in images):
            raise RuntimeError("poisoned")
        means = np.array([[*(image.mean(axis=(0, 1)) / 255), 1.0] for image in images], dtype=np.float32)
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        return means

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> list[EncodedImage]:
        embeddings = self.encode(images)
        return [
            EncodedImage(embedding, ("eye",) if image.any() else ())
            for embedding, image in zip(embeddings, images, strict=True)
        ]
