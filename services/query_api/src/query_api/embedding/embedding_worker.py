"""Worker that decodes and encodes photographs for the query service."""

from __future__ import annotations

import threading
from collections import OrderedDict

from aff_shared.bundles.bundle import load_served_manifest, verify_files
from aff_shared.errors import BundleIntegrityError
from aff_shared.workers.frames import Frame, Part
from aff_shared.workers.serve import Handler
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.embedding.photograph_embedder import (
    EmbedAnswer,
    EmbeddingSetup,
    EmbedRequest,
    OnnxModelRef,
    Photograph,
    embed_photographs,
)

_KEPT = 2  # the former encoder is still used for a moment after another collection becomes live


class LoadedEncoders:
    """The encoders that were used last.

    Args:
        onnx_threads: Threads that ONNX Runtime uses for one request.
    """

    def __init__(self, onnx_threads: int) -> None:
        self._onnx_threads = onnx_threads
        self._one_at_a_time = threading.Lock()
        self._loaded: OrderedDict[OnnxModelRef, OnnxQueryEncoder] = OrderedDict()

    def get(self, graph: OnnxModelRef) -> OnnxQueryEncoder:
        """Return an encoder, verified and warm.

        Raises:
            BundleError: The encoder cannot be used, or another bundle has replaced its bundle.
        """
        with self._one_at_a_time:
            if graph not in self._loaded:
                self._loaded[graph] = self._load(graph)
            self._loaded.move_to_end(graph)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[graph]

    def _load(self, graph: OnnxModelRef) -> OnnxQueryEncoder:
        manifest = load_served_manifest(graph.bundle_path)
        if manifest.fingerprint != graph.fingerprint:
            raise BundleIntegrityError("another bundle has taken its place", item=str(graph.bundle_path))
        verify_files(graph.bundle_path, manifest, manifest.query_files)
        return OnnxQueryEncoder.load(graph.bundle_path, manifest, threads=self._onnx_threads, precision=graph.precision)


def open_embedding(frame: Frame) -> Handler:
    """Return what embeds the photographs of a request."""
    setup = frame.read(EmbeddingSetup)
    encoders = LoadedEncoders(setup.onnx_threads)

    def embed(frame: Frame) -> tuple[EmbedAnswer, list[Part]]:
        request = frame.read(EmbedRequest)
        encoder = encoders.get(request.graph)
        if not frame.parts:
            return EmbedAnswer(shape=(0, 0), decode_ms=0.0, encode_ms=0.0), [b""]
        photographs = [Photograph(*one) for one in zip(frame.parts, request.names, request.crops, strict=True)]
        embedded = embed_photographs(photographs, encoder, setup.limits)
        rows, dimension = embedded.embeddings.shape
        answer = EmbedAnswer(shape=(rows, dimension), decode_ms=embedded.decode_ms, encode_ms=embedded.encode_ms)
        return answer, [embedded.embeddings]

    return embed
