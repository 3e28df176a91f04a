"""Evaluates the deployed encoders of bundles: the gallery encoder in torch, the query encoder in ONNX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest, ScoreLevels
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol, scenes_protocol
from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.evaluation.retrieval_scores import QueryScores, rank_positives, score_positions
from aff_toolkit.evaluation.score_levels import score_levels
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.recipe import TrainingRecipe
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

_BATCH = 32
_THREADS = 2
_ASYMMETRIC = "asymmetric"

# Training stage in which the bundle is measured.
MEASURING = "measuring"

# Key of the scores of the int8 graph, if there is one.
INT8_PAIRING = "asymmetric_int8"

Embeddings = NDArray[np.float32]
Encode = Callable[[list[NDArray[np.uint8]]], Embeddings]


class BundleAt(NamedTuple):
    """A bundle and its directory."""

    directory: Path
    manifest: BundleManifest


@dataclass(frozen=True, slots=True)
class StoredFeatures:
    """Features of photographs that need not be extracted again: a store, and its rows by the photograph's `id`."""

    store: FeatureStore
    rows: Mapping[int, int]

    @classmethod
    def of(cls, store: FeatureStore, photographs: Sequence[Photograph]) -> StoredFeatures:
        """Return the features of the readable photographs of a store."""
        readable = store.readable
        return cls(store, {id(photograph): row for row, photograph in enumerate(photographs) if readable[row]})


@dataclass(frozen=True, slots=True)
class Evaluation:
    """RetrievalScores of a bundle as JSON objects by pairing; of queries against the mixer scores and their levels."""

    scores: dict[str, Any]
    asymmetric: QueryScores
    score_levels: ScoreLevels


def evaluate_bundles(
    bundles: Sequence[BundleAt],
    protocol: Protocol,
    stored: StoredFeatures | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Evaluation]:
    """Measure bundles with the same extractors, which run once for all of them.

    `asymmetric` is the query encoder against the mixer, `symmetric` the mixer on both sides, `light_only` the query
    encoder on both sides; `asymmetric_int8` is the int8 query encoder against the mixer, where the bundle has one, and
    the other three use the float32 one. Search is exact; each photograph is embedded once.

    Args:
        bundles: Bundles whose extractors and weights are equal. The last one is the reference of a protocol with
            originals.
        protocol: Protocol to measure.
        stored: Features of some of the photographs.
        on_progress: Called with the number of embeddings since the last call; see embeddings_of.
    """
    numbers: dict[int, int] = {}
    photographs: list[Photograph] = []
    for photograph in (*protocol.queries, *protocol.gallery):
        if numbers.setdefault(id(photograph), len(photographs)) == len(photographs):
            photographs.append(photograph)
    queries, gallery = (
        np.array([numbers[id(one)] for one in part], np.int64) for part in (protocol.queries, protocol.gallery)
    )
    heavy = _embed_heavy(photographs, bundles, stored, on_progress)
    relevance = protocol.relevance(heavy[-1][gallery])
    return [
        _score(
            {"heavy": embeddings} | _embed_light(photographs, bundle, on_progress),
            queries,
            gallery,
            relevance,
            protocol,
        )
        for embeddings, bundle in zip(heavy, bundles, strict=True)
    ]


def embeddings_of(protocols: Sequence[Protocol], bundles: Sequence[BundleAt]) -> int:
    """Return the number of embeddings that measuring bundles needs: by the extractors, and by each graph."""
    graphs = sum(len(bundle.manifest.query_encoder.files) for bundle in bundles)
    photographs = sum(len({id(one) for one in (*protocol.queries, *protocol.gallery)}) for protocol in protocols)
    return photographs * (1 + graphs)


def embed_photographs(
    photographs: Sequence[Photograph], encode: Encode, on_progress: Callable[[int], None] = lambda _: None
) -> Embeddings:
    """Return the embeddings (N, D) of photographs, which are decoded in threads and embedded in batches."""
    embeddings = []
    for images in _decoded(photographs):
        embeddings.append(encode(images))
        on_progress(len(images))
    return np.concatenate(embeddings)


def _embed_heavy(
    photographs: Sequence[Photograph],
    bundles: Sequence[BundleAt],
    stored: StoredFeatures | None,
    on_progress: Callable[[int], None],
) -> list[Embeddings]:
    """Return the gallery embeddings (N, D) of photographs by each of the bundles."""
    encoders = [GalleryEncoder.load(*bundle, device="auto") for bundle in bundles]
    parts: list[list[Embeddings]] = [[] for _ in encoders]
    known = {} if stored is None else stored.rows
    fresh = [number for number, one in enumerate(photographs) if id(one) not in known]
    kept = [number for number, one in enumerate(photographs) if id(one) in known]

    def mix(features: Mapping[str, FeatureBatch]) -> None:
        for encoder, part in zip(encoders, parts, strict=True):
            part.append(encoder.mix(features))

    for images in _decoded([photographs[number] for number in fresh]):
        mix(encoders[0].extract(images))
        on_progress(len(images))
    for start in range(0, len(kept), _BATCH):
        assert stored is not None, "stored photographs have a store"
        rows = [known[id(photographs[number])] for number in kept[start : start + _BATCH]]
        mix(stored.store.read_features(np.array(rows, np.int64)))
        on_progress(len(rows))
    order = np.argsort([*fresh, *kept])
    return [np.concatenate(part)[order] for part in parts]


def _embed_light(
    photographs: Sequence[Photograph], bundle: BundleAt, on_progress: Callable[[int], None]
) -> dict[str, Embeddings]:
    """Return the query embeddings (N, D) of photographs by each graph of a bundle."""
    graphs = {"light": OnnxQueryEncoder.load(*bundle, threads=_THREADS, precision="fp32")}
    if bundle.manifest.query_encoder.int8_model is not None:
        graphs["int8"] = OnnxQueryEncoder.load(*bundle, threads=_THREADS, precision="int8")
    return {name: embed_photographs(photographs, graph.encode, on_progress) for name, graph in graphs.items()}


def _score(
    embeddings: Mapping[str, Embeddings],
    queries: NDArray[np.int64],
    gallery: NDArray[np.int64],
    relevance: Relevance,
    protocol: Protocol,
) -> Evaluation:
    pairings = {_ASYMMETRIC: ("light", "heavy"), "symmetric": ("heavy", "heavy"), "light_only": ("light", "light")}
    if "int8" in embeddings:
        pairings[INT8_PAIRING] = ("int8", "heavy")
    positives = [len(relevant) for relevant in relevance.relevant]
    ranks = {
        name: rank_positives(embeddings[asking][queries], embeddings[asked][gallery], relevance)
        for name, (asking, asked) in pairings.items()
    }
    scores = {name: score_positions(found, positives, len(gallery)).model_dump() for name, found in ranks.items()}
    levels = score_levels(embeddings["light"][queries], embeddings["heavy"][gallery], relevance, protocol)
    return Evaluation(scores, QueryScores.of(ranks[_ASYMMETRIC], positives), levels)


def _decoded(photographs: Sequence[Photograph]) -> Iterator[list[NDArray[np.uint8]]]:
    """Yield batches of photographs, decoded in threads."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(photographs), _BATCH):
            yield list(pool.map(lambda photograph: photograph.load(), photographs[start : start + _BATCH]))


def protocols_of_recipe(recipe: TrainingRecipe) -> list[Protocol]:
    """Return the protocols of a recipe: scenes, and the open sets whose files exist.

    The key of an open set's figures is `open_set` for a single file; for several files it is the file name without
    suffix, preceded by the folder name if the file name is not unique.
    """
    scenes, paths = recipe.evaluation.scenes, recipe.evaluation.open_sets
    protocols = [scenes_protocol(**scenes.model_dump())] if scenes is not None else []
    named = zip(_names(paths), paths, strict=True)
    return protocols + [open_set_protocol(path, name=name) for name, path in named if path.exists()]


def _names(paths: Sequence[Path]) -> list[str]:
    if len(paths) == 1:
        return ["open_set"]
    stems = [path.stem for path in paths]
    return [
        stem if stems.count(stem) == 1 else f"{path.parent.name}_{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
