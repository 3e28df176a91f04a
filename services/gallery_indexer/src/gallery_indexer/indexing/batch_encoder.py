"""Embeds batches; isolates images on which the encoder fails, and adapts the batch size to the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from aff_shared.errors import EncoderError
from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import (
    BatchTooLargeError,
    EncodedImage,
    EncoderInput,
    ImageEncoder,
    not_finite,
)
from gallery_indexer.indexing.index_metrics import IndexMetrics

_GROW_AFTER = 64
_UNIT_TOLERANCE = 1e-3

_logger = logging.getLogger(__name__)


class BatchEncoder:
    """Halves a batch on which the encoder fails until the image at fault is alone. For one thread.

    A batch that does not fit into the device's memory is halved too, which also limits later batches; after 64 of those
    without a failure, the limit doubles.

    Args:
        encoder: The encoder.
        metrics: Records batches.
        batch_size: Largest batch.
        with_features: Whether to return the extractors' features, too.
    """

    def __init__(
        self, encoder: ImageEncoder, metrics: IndexMetrics, *, batch_size: int, with_features: bool = False
    ) -> None:
        self._encoder = encoder
        self._metrics = metrics
        self._batch_size = batch_size
        self._with_features = with_features
        self._fitted = 0
        self.size = batch_size
        """Largest batch at present."""

    def encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        """Embed prepared images; None for each image on which the encoder fails.

        Raises:
            WorkerStartError: The encoder's process cannot be started.
        """
        encoded: list[EncodedImage | None] = []
        while len(encoded) < len(images):
            encoded += self._encode(images[len(encoded) : len(encoded) + self.size])
        return encoded

    def _encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        try:
            with self._metrics.encoding(len(images)):
                encoded = self._encoder.encode_images(images, with_features=self._with_features)
        except BatchTooLargeError:
            self._shrink(len(images))
            return [None] if len(images) == 1 else self.encode(images)
        except Exception as error:
            if len(images) == 1 and isinstance(error, WorkerStartError):
                raise
            _logger.warning("the encoder failed on a batch of %d", len(images), exc_info=True)
            half = len(images) // 2
            return [None] if len(images) == 1 else self._encode(images[:half]) + self._encode(images[half:])
        self._grow()
        return list(encoded)

    def _shrink(self, failed: int) -> None:
        self.size = min(self.size, max(1, failed // 2))
        self._fitted = 0
        self._metrics.count_out_of_memory()
        _logger.warning("a batch of %d does not fit into the device's memory; continuing with %d", failed, self.size)

    def _grow(self) -> None:
        if self.size < self._batch_size:
            self._fitted += 1
            if self._fitted == _GROW_AFTER:
                self.size, self._fitted = min(2 * self.size, self._batch_size), 0


def require_usable(encoded: EncodedImage | None, *, label: str) -> EncodedImage:
    """Return the output of the encoder for an image.

    Args:
        encoded: One result of `BatchEncoder.encode`.
        label: Name of the image, for the message.

    Raises:
        EncoderError: The encoder failed, or returned no unit vector or features that cannot be stored.
    """
    if encoded is None:
        raise EncoderError("the encoder failed on this image; the log has the reason", item=label)
    if names := not_finite(encoded.features or {}):
        raise EncoderError(f"features cannot be kept: {', '.join(names)} beyond float16 (65,504), or NaN", item=label)
    if not abs(np.linalg.norm(encoded.embedding) - 1.0) < _UNIT_TOLERANCE:
        reason = "" if encoded.extractors else ": no extractor of the bundle finds anything in it"
        raise EncoderError(f"the encoder returned no unit vector for this image{reason}", item=label)
    return encoded
