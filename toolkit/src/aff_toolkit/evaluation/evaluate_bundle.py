"""Measures a bundle's deployed encoders: the gallery encoder in torch, the query encoder in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_contracts.bundle import BundleManifest
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.training.data.photograph import Photograph
from gallery_indexer.gallery_encoder import GalleryEncoder
from query_api.onnx_query_encoder import OnnxQueryEncoder

_BATCH = 32
_THREADS = 2

Encode = Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]


def evaluate_bundle(directory: Path, manifest: BundleManifest, protocol: Protocol) -> dict[str, Any]:
    """Return RetrievalScores, as JSON objects, for the three ways to pair the two encoders.

    `asymmetric` is the query encoder against the mixer (what is deployed), `symmetric` the mixer on both sides,
    `light_only` the query encoder on both sides. Search is exact.
    """
    heavy = GalleryEncoder.load(directory, manifest, device="auto").encode
    light = OnnxQueryEncoder.load(directory, manifest, threads=_THREADS).encode
    queries = {"heavy": _embed(protocol.queries, heavy), "light": _embed(protocol.queries, light)}
    gallery = {"heavy": _embed(protocol.gallery, heavy), "light": _embed(protocol.gallery, light)}
    pairings = {
        "asymmetric": ("light", "heavy"),
        "symmetric": ("heavy", "heavy"),
        "light_only": ("light", "light"),
    }
    query_names = [photograph.instance for photograph in protocol.queries]
    gallery_names = [photograph.instance for photograph in protocol.gallery]
    return {
        name: score_embeddings(queries[q], gallery[g], query_names, gallery_names).model_dump()
        for name, (q, g) in pairings.items()
    }


def _embed(photographs: Sequence[Photograph], encode: Encode) -> NDArray[np.float32]:
    embeddings = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(photographs), _BATCH):
            batch = photographs[start : start + _BATCH]
            embeddings.append(encode(list(pool.map(lambda photograph: photograph.load(), batch))))
    return np.concatenate(embeddings)
