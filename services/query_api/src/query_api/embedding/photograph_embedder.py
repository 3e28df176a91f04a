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


@dataclass(frozen=True, slots=True)
class OnnxModelRef:
    """Which query encoder: a graph of a bundle.

    Attributes:
        bundle_path: Directory of the bundle.
        fingerprint: Of the bundle that is meant; another one may lie there by now.
        precision: Of the graph.
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
        limits: What a photograph may be.

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
    """What the process starts with.

    Attributes:
        limits: What a photograph may be.
        onnx_threads: That ONNX Runtime uses for one request.
    """

    limits: ImageLimits
    onnx_threads: int


class EmbedRequest(Message):
    """Asks for embeddings; without photographs, that the encoder be loaded. The image files are the frame's parts.

    Attributes:
        graph: Which encoder.
        names: Of the photographs.
        crops: Of the photographs.
    """

    graph: OnnxModelRef
    names: tuple[str, ...]
    crops: tuple[Crop | None, ...]


class EmbedAnswer(Message):
    """Goes with the embeddings, float32.

    Attributes:
        shape: Of the embeddings.
        decode_ms: Milliseconds that decoding took.
        encode_ms: Milliseconds that preprocessing and encoder took.
    """

    shape: tuple[NonNegativeInt, NonNegativeInt]
    decode_ms: float
    encode_ms: float
