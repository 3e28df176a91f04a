"""From encoded image files to embeddings, off the event loop and in bounded memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aff_contracts.errors import AffError, EncoderError, ImageError
from aff_contracts.gallery_store.gallery_store import Embedding
from aff_contracts.image_decoding import DecodedImage, ImageLimits, decode_image
from gallery_indexer.identified_image import IdentifiedImage
from gallery_indexer.image_encoder import EncodedImage, ImageEncoder
from gallery_indexer.index_metrics import IndexMetrics

_BATCHES_ALIVE = 2
_UNIT_TOLERANCE = 1e-3

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """What is kept of an image once its pixels are gone.

    Attributes:
        embedding: (D,) float32, unit length.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        extractors: Names of the extractors that found something in it.
    """

    embedding: Embedding
    width: int
    height: int
    extractors: tuple[str, ...]


class EmbeddingPipeline:
    """Decodes batches in several threads and embeds them in one.

    While one batch is embedded the next one is decoded. The pixels of no more than these two are held,
    whatever the number of requests; further batches wait.
    """

    def __init__(
        self, encoder: ImageEncoder, limits: ImageLimits, metrics: IndexMetrics, *, decode_threads: int
    ) -> None:
        self._encoder = encoder
        self._limits = limits
        self._metrics = metrics
        self._decoders = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="encode")
        self._free_batches = asyncio.Semaphore(_BATCHES_ALIVE)

    async def embed(self, images: Sequence[IdentifiedImage]) -> list[EmbeddedImage | AffError]:
        """Embed a batch.

        Returns:
            For each image what it became, or the ImageError or EncoderError that it alone met.
        """
        run = asyncio.get_running_loop().run_in_executor
        async with self._free_batches:
            decoded = await asyncio.gather(*(run(self._decoders, self._decode, image) for image in images))
            return await run(self._encoding, self._encode, images, decoded)

    def close(self) -> None:
        """End the threads; what waits for them is cancelled."""
        for pool in (self._decoders, self._encoding):
            pool.shutdown(cancel_futures=True)

    def _decode(self, image: IdentifiedImage) -> DecodedImage | ImageError:
        try:
            with self._metrics.time("decode"):
                return decode_image(image.data, self._limits, min_side=self._encoder.decode_min_side, name=image.label)
        except ImageError as error:
            return error

    def _encode(
        self, images: Sequence[IdentifiedImage], decoded: Sequence[DecodedImage | ImageError]
    ) -> list[EmbeddedImage | AffError]:
        encoded = iter(self._encode_batch([one.pixels for one in decoded if isinstance(one, DecodedImage)]))
        return [
            one if isinstance(one, ImageError) else _result(image, one, next(encoded))
            for image, one in zip(images, decoded, strict=True)
        ]

    def _encode_batch(self, photographs: Sequence[NDArray[np.uint8]]) -> list[EncodedImage | None]:
        """Embed a batch; one by one where the batch fails, so that a single image costs no other its place."""
        if not photographs:
            return []
        try:
            with self._metrics.time("encode"):
                return list(self._encoder.encode_images(photographs))
        except Exception:
            _logger.warning("the encoder failed on a batch of %d", len(photographs), exc_info=True)
        if len(photographs) == 1:
            return [None]
        return [encoded for one in photographs for encoded in self._encode_batch([one])]


def _result(
    image: IdentifiedImage, decoded: DecodedImage, encoded: EncodedImage | None
) -> EmbeddedImage | EncoderError:
    if encoded is None:
        return EncoderError("the encoder failed on this image; the log says why", item=image.label)
    if not abs(np.linalg.norm(encoded.embedding) - 1.0) < _UNIT_TOLERANCE:
        reason = "" if encoded.extractors else ": no extractor of the bundle finds anything in it"
        return EncoderError(f"the encoder gave no unit vector for this image{reason}", item=image.label)
    return EmbeddedImage(encoded.embedding, decoded.width, decoded.height, encoded.extractors)
