"""A symmetric image search as tutorials build it: FastAPI, CLIP on torch, qdrant-client.

`python -m aff_benchmarks.bench.clip_service --port 9000 --images 1000 --tower large`
"""

from __future__ import annotations

import argparse
import io
import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, File
from numpy.typing import NDArray
from PIL import Image
from qdrant_client import QdrantClient, models
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from aff_benchmarks.bench.synthetic_gallery import synthetic_embeddings, synthetic_item_id

_HITS = 10


_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
    "projection_dim",
)
# openai/clip-vit-large-patch14, and one for tests
_TOWERS = {"large": (1024, 4096, 24, 16, 14, 768), "tiny": (32, 64, 1, 2, 32, 16)}


class ClipTower:
    """CLIP's vision tower with random weights, which cost as much as trained ones."""

    def __init__(self, name: str) -> None:
        config = CLIPVisionConfig.from_dict({"image_size": 224, **dict(zip(_SIZES, _TOWERS[name], strict=True))})
        torch.manual_seed(0)
        self.dimension = int(config.projection_dim)
        self._model: nn.Module = CLIPVisionModelWithProjection(config)
        self._model.train(mode=False)
        self._processor = CLIPImageProcessorPil()

    @torch.inference_mode()
    def embed(self, file: bytes) -> NDArray[np.float32]:
        """Return the embedding of an image file: (D,), unit length."""
        photograph = Image.open(io.BytesIO(file)).convert("RGB")
        inputs = self._processor(images=photograph, return_tensors="pt")
        (embedding,) = self._model(**inputs).image_embeds
        unit: NDArray[np.float32] = (embedding / embedding.norm()).numpy()
        return unit


class ClipCollection:
    """A collection of synthetic vectors in the client's local mode, or on the server of `QDRANT_URL`, until closed."""

    def __init__(self, images: int, dimension: int) -> None:
        url = os.environ.get("QDRANT_URL")
        self._client = QdrantClient(url=url) if url else QdrantClient(":memory:")
        self._name = f"bench-clip-{uuid.uuid4().hex[:8]}"
        self._client.create_collection(
            self._name, vectors_config=models.VectorParams(size=dimension, distance=models.Distance.COSINE)
        )
        written = 0
        for vectors in synthetic_embeddings(images, dimension, seed=0):
            ids = list(range(written, written + len(vectors)))
            payloads = [{"id": synthetic_item_id(number)} for number in ids]
            self._client.upsert(self._name, models.Batch(ids=list(ids), vectors=vectors.tolist(), payloads=payloads))
            written += len(vectors)

    def search(self, embedding: NDArray[np.float32]) -> list[dict[str, Any]]:
        """Return the nearest images, the nearest first."""
        found = self._client.query_points(self._name, query=embedding.tolist(), limit=_HITS)
        return [{"id": point.payload["id"], "score": point.score} for point in found.points if point.payload]

    def close(self) -> None:
        """Delete the collection."""
        self._client.delete_collection(self._name)
        self._client.close()


def create_app(tower: ClipTower, images: int) -> FastAPI:
    """Create the service; its collection is filled at start."""
    opened: list[ClipCollection] = []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        opened.append(ClipCollection(images, tower.dimension))
        yield
        opened.pop().close()

    app = FastAPI(lifespan=lifespan)

    @app.get("/health")
    def health() -> str:
        return "ok"

    @app.post("/search")
    def search(image: Annotated[bytes, File()]) -> dict[str, Any]:
        embedding = tower.embed(image)
        began = time.perf_counter()
        hits = opened[0].search(embedding)
        return {"hits": hits, "timings_ms": {"search": 1000 * (time.perf_counter() - began)}}

    return app


def main() -> None:
    """Serve until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--tower", choices=list(_TOWERS), default="large")
    given = parser.parse_args()
    app = create_app(ClipTower(given.tower), given.images)
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
