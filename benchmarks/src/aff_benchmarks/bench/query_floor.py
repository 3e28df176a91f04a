"""What a search cannot cost less than: decoding, the encoder and the vector search in a bare loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aff_shared.bundles.bundle import load_manifest
from aff_shared.images.decoding import decode_image
from aff_shared.store.embedded.edge_gallery import EdgeGallery
from aff_shared.store.settings import StoreSettings
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings


class QueryFloor:
    """The steps of a search, with the settings of the service and nothing around them.

    Args:
        bundle: Directory of the model bundle.
        collection: Directory of an embedded collection that nobody else has open.
        settings: Of the service.
    """

    def __init__(self, bundle: Path, collection: Path, settings: QuerySettings) -> None:
        manifest = load_manifest(bundle)
        self._encoder = OnnxQueryEncoder.load(
            bundle, manifest, threads=settings.onnx_threads, precision=settings.precision
        )
        self._gallery = EdgeGallery(collection, StoreSettings(url=""))
        self._limits = settings.image_limits
        self._hits = settings.default_limit
        self._threads = ThreadPoolExecutor(settings.search_threads)

    def search(self, photograph: bytes) -> float:
        """Search with an image file; returns the milliseconds that it took."""
        began = time.perf_counter()
        decoded = decode_image(photograph, self._limits, min_side=self._encoder.decode_min_side)
        (embedding,) = self._encoder.encode([decoded.pixels])
        self._gallery.search(
            embedding,
            limit=self._hits,
            payload_filter=None,
            score_threshold=None,
            exact=False,
            with_embeddings=False,
        )
        return 1000 * (time.perf_counter() - began)

    def per_s(self, photographs: Sequence[bytes], count: int) -> float:
        """Return the searches a second in as many threads as the service has."""
        began = time.perf_counter()
        list(self._threads.map(self.search, (photographs[number % len(photographs)] for number in range(count))))
        return count / (time.perf_counter() - began)

    def close(self) -> None:
        """Close the gallery."""
        self._threads.shutdown()
        self._gallery.close()
