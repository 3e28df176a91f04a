"""Photographs become embeddings, in threads, off the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aff_contracts.errors import EncoderError
from aff_contracts.image_decoding import Crop, ImageLimits, decode_image
from aff_contracts.web.tracing import span
from query_api.query_encoder import QueryEncoder


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph to search with.

    Attributes:
        data: The encoded image file.
        name: Of the photograph, for errors.
        crop: Only this region.
    """

    data: bytes
    name: str
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedPhotographs:
    """What photographs became.

    Attributes:
        embeddings: (B, D) float32, unit length.
        decode_ms: Milliseconds that decoding took.
        encode_ms: Milliseconds that preprocessing and encoder took.
    """

    embeddings: NDArray[np.float32]
    decode_ms: float
    encode_ms: float


class PhotographEmbedder:
    """Decodes and encodes photographs.

    Args:
        limits: What a photograph may be.
        threads: Requests whose photographs are decoded and encoded at the same time.
    """

    def __init__(self, limits: ImageLimits, threads: int) -> None:
        self._limits = limits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="encode")

    async def embed(self, photographs: Sequence[Photograph], encoder: QueryEncoder) -> EmbeddedPhotographs:
        """Embed photographs together.

        Raises:
            ImageError: One of them cannot be used.
            InvalidCropError: A crop is not inside its photograph.
            EncoderError: The encoder failed on them.
        """
        run, context = asyncio.get_running_loop().run_in_executor, copy_context()  # the request's, for logs and traces
        return await run(self._threads, context.run, self._embed, photographs, encoder)

    def close(self) -> None:
        """End the threads; what waits for them is cancelled."""
        self._threads.shutdown(cancel_futures=True)

    def _embed(self, photographs: Sequence[Photograph], encoder: QueryEncoder) -> EmbeddedPhotographs:
        began = time.perf_counter()
        min_side = encoder.decode_min_side
        with span("decode"):
            pixels = [
                decode_image(one.data, self._limits, min_side=min_side, crop=one.crop, name=one.name).pixels
                for one in photographs
            ]
        decoded = time.perf_counter()
        try:
            with span("encode"):
                embeddings = encoder.encode(pixels)
        except EncoderError as error:
            error.item = ", ".join(one.name for one in photographs)
            raise
        return EmbeddedPhotographs(
            embeddings, decode_ms=1000 * (decoded - began), encode_ms=1000 * (time.perf_counter() - decoded)
        )
