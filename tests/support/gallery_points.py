"""Embedding spaces and gallery points for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord


def make_space(name: str = "a space", *, dimension: int = 8) -> EmbeddingSpace:
    return EmbeddingSpace(id=hashlib.sha256(name.encode()).hexdigest(), dimension=dimension)


def unit(numbers: Sequence[float] | NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    vector = np.asarray(numbers, dtype=np.float64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def random_units(count: int, *, dimension: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Return (count, D) unit vectors."""
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def make_point(item_id: str, embedding: NDArray[np.float32], payload: dict[str, Any] | None = None) -> GalleryPoint:
    record = GalleryRecord(
        item_id=item_id,
        content_sha256=hashlib.sha256(item_id.encode()).hexdigest(),
        width=640,
        height=480,
        indexed_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        payload=payload or {},
        extractors=("cnn", "sift"),
    )
    return GalleryPoint(record=record, embedding=embedding)


def make_points(count: int, *, dimension: int = 8, seed: int = 0) -> list[GalleryPoint]:
    """Return points `item-0`, `item-1`, ... whose payload has their number."""
    embeddings = random_units(count, dimension=dimension, seed=seed)
    return [make_point(f"item-{i}", embedding, {"number": i}) for i, embedding in enumerate(embeddings)]
