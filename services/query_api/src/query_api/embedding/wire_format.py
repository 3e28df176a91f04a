"""What the service and the process that embeds photographs for it send to each other."""

from __future__ import annotations

from pydantic import NonNegativeInt

from aff_shared.images.decoding import Crop, ImageLimits
from aff_shared.workers.frames import Message
from query_api.embedding.photograph_embedder import OnnxModelRef


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
