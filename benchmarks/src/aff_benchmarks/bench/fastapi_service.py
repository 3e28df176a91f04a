"""The query encoder of a bundle and the embedded vector search behind FastAPI, as tutorials of ONNX Runtime write it.

`python -m aff_benchmarks.bench.fastapi_service --port 9000 --bundle bundles/photos --gallery COLLECTION`

Pillow decodes the whole photograph, ONNX Runtime has its default number of threads, and a search runs in FastAPI's
thread pool: no limits, no queue, no scaled decoding.
"""

from __future__ import annotations

import argparse
import io
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import uvicorn
from fastapi import Body, FastAPI
from PIL import Image

from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import StoreSettings
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings

_DEFAULT_THREADS = 0


class PlainSearch:
    """Decode, encode and search in one call.

    Args:
        bundle: Directory of the bundle.
        gallery: Directory of the collection, which no other process may have open.
    """

    def __init__(self, bundle: Path, gallery: Path) -> None:
        self._encoder = OnnxQueryEncoder.load(bundle, load_manifest(bundle), threads=_DEFAULT_THREADS)
        self._gallery = EdgeGallery(gallery, StoreSettings(url=""))
        self._one_at_a_time = threading.Lock()
        self._limit = QuerySettings().default_limit

    def __call__(self, file: bytes) -> dict[str, Any]:
        """Search with an image file."""
        photograph = Image.open(io.BytesIO(file)).convert("RGB")
        (embedding,) = self._encoder.encode([np.asarray(photograph)])
        began = time.perf_counter()
        with self._one_at_a_time:
            found = self._gallery.search(embedding, limit=self._limit)
        search_ms = 1000 * (time.perf_counter() - began)
        hits = [{"id": hit.record.item_id, "score": hit.score, "payload": hit.record.payload} for hit in found]
        return {"hits": hits, "timings_ms": {"search": search_ms}}


def create_app(search: PlainSearch) -> FastAPI:
    """Return the service."""
    app = FastAPI()

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/search")
    def search_photograph(photograph: Annotated[bytes, Body(media_type="image/jpeg")]) -> dict[str, Any]:
        return search(photograph)

    return app


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--gallery", type=Path, required=True, help="Collection directory.")
    given = parser.parse_args()
    app = create_app(PlainSearch(given.bundle, given.gallery))
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
