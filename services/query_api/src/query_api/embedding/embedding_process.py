"""The process that decodes and encodes photographs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aff_shared.errors import DecoderFailedError, WorkerError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.size import PixelBudget
from aff_shared.web.observability import span
from aff_shared.workers.worker_life import WorkerStartError
from aff_shared.workers.worker_process import WorkerProcess
from query_api.embedding.photograph_embedder import (
    EmbedAnswer,
    EmbeddedPhotographs,
    EmbeddingSetup,
    EmbedRequest,
    OnnxModelRef,
    Photograph,
)


class EmbeddingProcess:
    """A PhotographEmbedder that calls `query_api.embedding.embedding_worker` in another process.

    Python runs in one thread of a process at a time, and the embedded store keeps it for as long as a search takes:
    photographs that are encoded in the same process wait for HTTP and store, which wait for them. And a photograph that
    stops its decoder does not stop the service.

    Args:
        limits: Limits on a photograph.
        budget: Pixel budget of the service; large photographs wait for it, others do not.
        threads: Requests whose photographs are decoded and encoded at the same time.
        onnx_threads: Threads that ONNX Runtime uses for one of them.
        timeout_s: Maximum time for a photograph, in seconds.
    """

    def __init__(
        self, limits: ImageLimits, budget: PixelBudget, threads: int, onnx_threads: int, timeout_s: float
    ) -> None:
        self._budget = budget
        self._worker = WorkerProcess(
            "embeds photographs",
            "query_api.embedding.embedding_worker:open_embedding",
            EmbeddingSetup(limits=limits, onnx_threads=onnx_threads),
            timeout_s=timeout_s,
            threads=threads,
        )

    async def load(self, graph: OnnxModelRef) -> None:
        """Load an encoder, so that no search waits for that.

        Raises:
            BundleError: It cannot be used.
            WorkerError: The process died of it.
        """
        await self._embed([], graph)

    async def embed(self, photographs: Sequence[Photograph], graph: OnnxModelRef) -> EmbeddedPhotographs:
        """See PhotographEmbedder.

        Raises:
            ServiceOverloadedError: The budget has no room for a large photograph.
        """
        async with self._budget.holding(one.data for one in photographs):
            with span("embed"):
                try:
                    return await self._embed(photographs, graph)
                except WorkerStartError:
                    raise
                except WorkerError as error:
                    await self.load(graph)  # raises if the photographs are not the cause
                    names = ", ".join(one.name for one in photographs)
                    raise DecoderFailedError(f"cannot be decoded: {error.detail}", item=names) from error

    async def close(self) -> None:
        """End the process, and abandon its calls."""
        await asyncio.to_thread(self._worker.close)

    async def _embed(self, photographs: Sequence[Photograph], graph: OnnxModelRef) -> EmbeddedPhotographs:
        request = EmbedRequest(
            graph=graph, names=tuple(one.name for one in photographs), crops=tuple(one.crop for one in photographs)
        )
        files = [one.data for one in photographs]
        answer, frame = await self._worker.call(request, files, EmbedAnswer, items=len(files))
        embeddings = frame.array(0, "float32", answer.shape)
        return EmbeddedPhotographs(embeddings, decode_ms=answer.decode_ms, encode_ms=answer.encode_ms)
