"""Embeds batches in spite of single images that make the encoder fail, and of a device that is short of memory."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from aff_shared.workers.worker_life import WorkerStartError
from gallery_indexer.features.image_encoder import BatchTooLargeError, EncodedImage, EncoderInput, ImageEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics

_GROW_AFTER = 64

_logger = logging.getLogger(__name__)


class BatchEncoder:
    """Halves a batch on which the encoder fails, until the image at fault stands alone.

    A batch that does not fit on the device is halved too, and later batches are no larger than what fitted; after 64 of
    them without a failure, twice as large ones are tried. For one thread.

    Args:
        encoder: Embeds.
        metrics: Learns of batches.
        batch_size: Most images of a batch.
        with_features: Whether what the extractors found is wanted, too.
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
        """Most images of a batch now."""

    def encode(self, images: Sequence[EncoderInput]) -> list[EncodedImage | None]:
        """Embed prepared images; None stands for one on which the encoder fails.

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
        _logger.warning("no memory on the device for a batch of %d; going on with %d", failed, self.size)

    def _grow(self) -> None:
        if self.size < self._batch_size:
            self._fitted += 1
            if self._fitted == _GROW_AFTER:
                self.size, self._fitted = min(2 * self.size, self._batch_size), 0
