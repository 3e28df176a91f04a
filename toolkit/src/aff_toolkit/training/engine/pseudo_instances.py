"""Pseudo-instances: photographs without labels, grouped by embeddings, if need be of an untrained mixer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.data import Settings
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.fit_vlad import fit_pca_whitening
from aff_toolkit.training.features.feature_store import FeatureStore, sample_readable
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.vlad import PcaWhitening
from gallery_indexer.features.mixers.alternative_mixers import pooled

_BLOCK = 1024
_MOST_LINKED = 2000
_STRICTER = 0.1
_ALIKE = 0.9999
_SAMPLE = 2000
_BATCH = 256
# Measured on groceries: with more components fewer photographs of one thing are found, with fewer more things are
# confused. With too few photographs per component, whitening makes all photographs equally dissimilar.
_MOST_COMPONENTS = 64
_PHOTOGRAPHS_PER_COMPONENT = 8
# Components below this share of the strongest one's deviation are rounding of the float16 in the store.
_LEAST_DEVIATION = 1e-3


class PseudoInstancesSection(Settings):
    """Settings of the grouping of photographs.

    Attributes:
        neighbours: Number of mutual nearest neighbours of a photograph that may be in its group.
        min_similarity: Minimum mean cosine within a group; None uses the cosine that four of five photographs reach
            with their augmented version, because photographs that differ less are considered the same instance.
    """

    neighbours: int = Field(default=5, ge=1)
    min_similarity: float | None = Field(default=None, gt=0, lt=1)


def name_pseudo_instances(names: Sequence[str], groups: NDArray[np.int64]) -> list[str]:
    """Return an instance name for each of N photographs: of its group (N,), or its own name if it is alone."""
    sizes = np.bincount(groups)
    return [f"group-{group}" if sizes[group] > 1 else name for name, group in zip(names, groups.tolist(), strict=True)]


def group_photographs(embeddings: NDArray[np.float32], neighbours: int, min_similarity: float) -> NDArray[np.int64]:
    """Group photographs: connected components of the graph of mutual neighbours, divided by average linkage.

    Components alone would chain dissimilar photographs; average linkage (scipy.cluster.hierarchy) keeps the mean
    cosine between the parts that it merges above the bound. A component that is too large for it is first divided by a
    stricter bound. Time grows with N squared in one matrix product, memory with N times `neighbours`.

    Args:
        embeddings: (N, D), unit length.
        neighbours: Number of nearest neighbours of each photograph.
        min_similarity: Minimum cosine of two neighbours, and minimum mean cosine.

    Returns:
        (N,) int64 group number of each photograph.
    """
    graph = _mutual_neighbours(embeddings, neighbours, min_similarity)
    groups = np.zeros(len(embeddings), dtype=np.int64)
    count = 0
    for rows in _components(graph, np.arange(len(embeddings)), min_similarity):
        own = _cut(embeddings[rows], min_similarity)
        groups[rows] = count + own
        count += int(own.max()) + 1
    return groups


def _mutual_neighbours(embeddings: NDArray[np.float32], neighbours: int, min_similarity: float) -> csr_array:
    """Return the symmetric (N, N) graph of cosines between mutual nearest neighbours above the bound."""
    N = len(embeddings)
    kept = min(neighbours, N - 1)
    columns = np.empty((N, kept), dtype=np.int64)
    cosines = np.empty((N, kept), dtype=np.float32)
    for start in range(0, N, _BLOCK):
        block = embeddings[start : start + _BLOCK] @ embeddings.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -np.inf
        columns[start : start + _BLOCK] = np.argpartition(-block, kept - 1, axis=1)[:, :kept]
        cosines[start : start + _BLOCK] = np.take_along_axis(block, columns[start : start + _BLOCK], axis=1)
    near = cosines >= min_similarity
    rows = np.repeat(np.arange(N), kept).reshape(N, kept)
    directed = csr_array((cosines[near], (rows[near], columns[near])), shape=(N, N))
    return csr_array(directed.minimum(directed.T))


def _components(graph: csr_array, rows: NDArray[np.int64], bound: float) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each connected component, with at most 2,000 photographs each."""
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        if len(members) <= _MOST_LINKED:
            yield rows[members]
            continue
        if bound > _ALIKE:
            yield from (rows[members[start : start + _MOST_LINKED]] for start in range(0, len(members), _MOST_LINKED))
            continue
        stricter = bound + (1 - bound) * _STRICTER
        part = graph[members][:, members].multiply(graph[members][:, members] >= stricter)
        yield from _components(csr_array(part), rows[members], stricter)


def _cut(embeddings: NDArray[np.float32], min_similarity: float) -> NDArray[np.int64]:
    """Return the group of each of n photographs by average linkage on cosine distances."""
    if len(embeddings) == 1:
        return np.zeros(1, dtype=np.int64)
    tree = linkage(embeddings.astype(np.float64), method="average", metric="cosine")
    numbers = fcluster(np.maximum(tree, 0.0), 1 - min_similarity, criterion="distance")
    return np.asarray(numbers, dtype=np.int64) - 1


@dataclass(frozen=True, slots=True)
class WhitenedExtractor:
    """Whitening of an extractor's concatenated global features, or of its local ones if it has no global ones."""

    features: tuple[str, ...]
    whitening: PcaWhitening

    def describe(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Return the whitened feature (B, d) float32: unit length; zero where the extractor found nothing."""
        whole = concatenated(features, self.features)
        mean, projection = torch.from_numpy(self.whitening.mean), torch.from_numpy(self.whitening.projection)
        return F.normalize((whole - mean) @ projection.T, dim=1) * whole.any(dim=1, keepdim=True)


class UntrainedFusion(nn.Module):
    """A mixer without trained weights, in which all extractors contribute equally to the cosine of two photographs."""

    def __init__(self, extractors: Sequence[WhitenedExtractor]) -> None:
        super().__init__()
        self.extractors = tuple(extractors)

    def forward(self, features: Mapping[str, FeatureBatch]) -> Tensor:
        """Fuse one batch: (B, D) float32, unit length; zero for an image in which no extractor found anything."""
        return F.normalize(torch.cat([extractor.describe(features) for extractor in self.extractors], dim=1), dim=1)


def fit_untrained_fusion(store: FeatureStore, extractors: Sequence[ExtractorSpec], seed: int) -> UntrainedFusion:
    """Whiten each extractor's features on a sample of up to 2,000 photographs (Jegou and Chum, ECCV 2012).

    Without whitening, the cosine of two photographs mostly reflects what all photographs have in common.

    Raises:
        TooFewPhotographsError: No extractor has different features in enough photographs.
    """
    rows = sample_readable(store, _SAMPLE, seed)
    fitted = []
    for names in map(_described_by, extractors):
        found = _found(store, rows, names)
        width = _components_of(found)
        if width:
            fitted.append(WhitenedExtractor(names, fit_pca_whitening(found, width)))
    if not fitted:
        detail = f"{len(rows)} photographs are too few or too similar to group them"
        raise TooFewPhotographsError(detail, item="joint.pseudo_instances")
    return UntrainedFusion(fitted)


def concatenated(features: Mapping[str, FeatureBatch], names: Sequence[str]) -> Tensor:
    """Concatenate features of an extractor, local ones averaged: (B, D), unit length; zero without features."""
    return F.normalize(torch.cat([F.normalize(pooled(features[name]), dim=1) for name in names], dim=1), dim=1)


def _described_by(extractor: ExtractorSpec) -> tuple[str, ...]:
    whole = tuple(feature.name for feature in extractor.features if feature.kind == "global")
    return whole or tuple(feature.name for feature in extractor.features)


def _found(store: FeatureStore, rows: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
    """Return the feature (n, D) of those photographs in which the extractor found something."""
    starts = range(0, max(len(rows), 1), _BATCH)
    batches = (store.read_features(rows[start : start + _BATCH], names) for start in starts)
    whole = np.concatenate([concatenated(batch, names).numpy() for batch in batches])
    return whole[whole.any(axis=1)]


def _components_of(vectors: NDArray[np.float32]) -> int:
    """Return the number of components of vectors (n, D) above chance and rounding errors."""
    most = min(_MOST_COMPONENTS, len(vectors) // _PHOTOGRAPHS_PER_COMPONENT)
    return min(most, int(np.linalg.matrix_rank(vectors - vectors.mean(axis=0), rtol=_LEAST_DEVIATION))) if most else 0
