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
from aff_toolkit.evaluation.retrieval_scores import score_relevance
from aff_toolkit.training.data.photograph import Photograph
from gallery_indexer.gallery_encoder import GalleryEncoder
from query_api.onnx_query_encoder import OnnxQueryEncoder

_BATCH = 32
_THREADS = 2

# Of the scores; a bundle without an int8 graph has none.
INT8_PAIRING = "asymmetric_int8"

Encode = Callable[[list[NDArray[np.uint8]]], NDArray[np.float32]]


def evaluate_bundle(directory: Path, manifest: BundleManifest, protocol: Protocol) -> dict[str, Any]:
    """Return RetrievalScores, as JSON objects, for the ways to pair the two encoders.

    `asymmetric` is the query encoder against the mixer, `symmetric` the mixer on both sides, `light_only` the query
    encoder on both sides; `asymmetric_int8` is the int8 query encoder against the mixer, where the bundle has one, and
    the other three take the float32 one. Search is exact.
    """
    heavy = GalleryEncoder.load(directory, manifest, device="auto").encode
    light = OnnxQueryEncoder.load(directory, manifest, threads=_THREADS, precision="fp32").encode
    queries = {"heavy": embed_photographs(protocol.queries, heavy), "light": embed_photographs(protocol.queries, light)}
    gallery = {"heavy": embed_photographs(protocol.gallery, heavy), "light": embed_photographs(protocol.gallery, light)}
    pairings = {
        "asymmetric": ("light", "heavy"),
        "symmetric": ("heavy", "heavy"),
        "light_only": ("light", "light"),
    }
    if manifest.query_encoder.int8_model is not None:
        int8 = OnnxQueryEncoder.load(directory, manifest, threads=_THREADS, precision="int8").encode
        queries["int8"] = embed_photographs(protocol.queries, int8)
        pairings[INT8_PAIRING] = ("int8", "heavy")
    relevance = protocol.relevance()
    return {name: score_relevance(queries[q], gallery[g], relevance).model_dump() for name, (q, g) in pairings.items()}


def embed_photographs(photographs: Sequence[Photograph], encode: Encode) -> NDArray[np.float32]:
    """Return the embeddings (N, D) of photographs, which are decoded in threads and embedded in batches."""
    embeddings = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(photographs), _BATCH):
            batch = photographs[start : start + _BATCH]
            embeddings.append(encode(list(pool.map(lambda photograph: photograph.load(), batch))))
    return np.concatenate(embeddings)
