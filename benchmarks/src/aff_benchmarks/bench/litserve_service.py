"""The query encoder of a bundle and the embedded vector search behind LitServe.

`python -m aff_benchmarks.bench.litserve_service --port 9000 --bundle bundles/photos --gallery COLLECTION`

This module does not postpone annotations, because LitServe reads one at runtime.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import litserve  # type: ignore[import-untyped]
import numpy as np
from fastapi import Body
from numpy.typing import NDArray

from aff_shared.bundles.bundle import load_manifest
from aff_shared.errors.gallery import StoreLockedError
from aff_shared.images.decoding import decode_image
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import StoreSettings
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings

_Pixels = NDArray[np.uint8]


class SearchApi(litserve.LitAPI):  # type: ignore[misc]
    """Search with the settings of our service.

    The embedded collections are equal, one per worker, since a worker locks its collection.
    """

    def __init__(
        self, bundle: Path, galleries: Sequence[Path], threads: int, max_batch_size: int, batch_timeout: float
    ) -> None:
        super().__init__(max_batch_size=max_batch_size, batch_timeout=batch_timeout, api_path="/search")
        self._bundle = bundle
        self._galleries = galleries
        self._threads = threads

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe passes it by its name
        """Open encoder and gallery in a worker."""
        self._settings = QuerySettings()
        self._encoder = OnnxQueryEncoder.load(self._bundle, load_manifest(self._bundle), threads=self._threads)
        self._gallery = _open_one(self._galleries)

    def decode_request(self, request: Annotated[bytes, Body()]) -> _Pixels:
        """Decode a photograph."""
        return decode_image(request, self._settings.image_limits, min_side=self._encoder.decode_min_side).pixels

    def batch(self, inputs: list[_Pixels]) -> list[_Pixels]:
        """Return photographs unchanged: their sizes may differ, and the encoder batches them."""
        return inputs

    def predict(self, x: _Pixels | list[_Pixels]) -> Any:
        """Search with a photograph or a batch."""
        photographs = x if isinstance(x, list) else [x]
        found = [self._search(embedding) for embedding in self._encoder.encode(photographs)]
        return found if isinstance(x, list) else found[0]

    def _search(self, embedding: NDArray[np.float32]) -> dict[str, Any]:
        began = time.perf_counter()
        found = self._gallery.search(embedding, limit=self._settings.default_limit)
        search_ms = 1000 * (time.perf_counter() - began)
        hits = [{"id": hit.record.item_id, "score": hit.score, "payload": hit.record.payload} for hit in found]
        return {"hits": hits, "timings_ms": {"search": search_ms}}


def _open_one(galleries: Sequence[Path]) -> EdgeGallery:
    """Open the first gallery that no other worker has locked."""
    for gallery in galleries:
        try:
            return EdgeGallery(gallery, StoreSettings(url=""))
        except StoreLockedError:
            continue
    raise RuntimeError("more workers than galleries")


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument(
        "--gallery", type=Path, action="append", required=True, help="Collection directory, one per worker."
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--batch-timeout", type=float, default=0.0)
    given = parser.parse_args()
    api = SearchApi(given.bundle, given.gallery, given.threads, given.batch, given.batch_timeout)
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=len(given.gallery))
    server.run(host="127.0.0.1", port=given.port, generate_client_file=False, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
