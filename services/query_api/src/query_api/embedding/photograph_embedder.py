"""Photographs become embeddings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt

from aff_shared.errors import EncoderError
from aff_shared.images.decoding import Crop, ImageLimits, decode_image
from aff_shared.workers.frames import Message
from query_api.embedding.query_encoder import Precision, QueryEncoder


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph to search with.

    Attributes:
        data: The encoded image file.
        name: Name of the photograph, for errors.
        crop: Only this region.
    """

    data: bytes
    name: str
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class EmbeddedPhotographs:
    """Embeddings of photographs, and how long they took.

    Attributes:
        embeddings: (B, D) float32, unit length.
        decode_ms: Milliseconds that decoding took.
        encode_ms: Milliseconds that preprocessing and encoder took.
    """

    embeddings: NDArray[np.float32]
    decode_ms: float
    encode_ms: float


@dataclass(frozen=True, slots=True)
class OnnxModelRef:
    """Which query encoder: a graph of a bundle.

    Attributes:
        bundle_path: Directory of the bundle.
        fingerprint: Fingerprint of the bundle; another bundle may have replaced it since.
        precision: Precision of the graph.
    """

    bundle_path: Path
    fingerprint: str
    precision: Precision


class PhotographEmbedder(Protocol):
    """Decodes and encodes photographs without holding up the event loop."""

    async def embed(self, photographs: Sequence[Photograph], graph: OnnxModelRef) -> EmbeddedPhotographs:
        """Embed photographs together.

        Raises:
            ImageError: One of them cannot be used.
            InvalidCropError: A crop is not inside its photograph.
            EncoderError: The encoder failed on them.
            BundleError: The graph had to be loaded again, and cannot be.
        """
        ...


def embed_photographs(
    photographs: Sequence[Photograph], encoder: QueryEncoder, limits: ImageLimits
) -> EmbeddedPhotographs:
    """Decode and encode photographs together, in this thread.

    Args:
        photographs: One or several.
        encoder: Loaded.
        limits: Limits on a photograph.

    Raises:
        ImageError: One of them cannot be used.
        InvalidCropError: A crop is not inside its photograph.
        EncoderError: The encoder failed on them.
    """
    began = time.perf_counter()
    min_side = encoder.decode_min_side
    pixels = [
        decode_image(one.data, limits, min_side=min_side, crop=one.crop, name=one.name).pixels for one in photographs
    ]
    decoded = time.perf_counter()
    try:
        embeddings = encoder.encode(pixels)
    except EncoderError as error:
        error.item = ", ".join(one.name for one in photographs)
        raise
    return EmbeddedPhotographs(
        embeddings, decode_ms=1000 * (decoded - began), encode_ms=1000 * (time.perf_counter() - decoded)
    )


class EmbeddingSetup(Message):
    """Settings of the worker process.

    Attributes:
        limits: Limits on a photograph.
        onnx_threads: Threads that ONNX Runtime uses for one request.
    """

    limits: ImageLimits
    onnx_threads: int


class EmbedRequest(Message):
    """Request for embeddings; without photographs, only the encoder is loaded. The frame's parts are the image files.

    Attributes:
        graph: Which encoder.
        names: Names of the photographs.
        crops: Crops of the photographs.
    """

    graph: OnnxModelRef
    names: tuple[str, ...]
    crops: tuple[Crop | None, ...]


class EmbedAnswer(Message):
    """Goes with the embeddings, float32.

    Attributes:
        shape: Shape of the embeddings.
        decode_ms: Milliseconds that decoding took.
        encode_ms: Milliseconds that preprocessing and encoder took.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt]
    decode_ms: float
    encode_ms: float
