"""The variants that an ablation trains, their benchmarks and their results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from aff_benchmarks.records import StrictModel
from aff_shared.bundles.bundle import MixerKind
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import Relevance
from aff_toolkit.evaluation.retrieval_scores import QueryScores, rank_positives
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows
from aff_toolkit.training.losses import CompatibilityLoss

Embeddings = NDArray[np.float32]
Pairing = Literal["asymmetric", "symmetric", "light_only"]
Share = Annotated[float, Field(ge=0, le=1)]

_ROUNDING = 1e-6
_BATCH = 64


class Variant(StrictModel):
    """The settings that distinguish one variant; the configuration has all others.

    Attributes:
        name: Name derived from the settings (see `grid`), also part of file names.
        losses: Compatibility losses of the query side, summed by weight.
    """

    name: str = Field(pattern=r"^[a-z0-9_.+]+$")
    features: tuple[str, ...] = Field(min_length=1)
    mixer: MixerKind = "transformer"
    losses: tuple[CompatibilityLoss, ...] = Field(min_length=1)
    update: UpdateRule = UpdateRule()


class PairingScores(StrictModel):
    """Mean scores over the queries, from 0 to 1."""

    map: Share
    recall_at_1: Share


class CurvePoint(StrictModel):
    """The mAP by pairing after a number of epochs."""

    epoch: int = Field(ge=0)
    map: Mapping[Pairing, Share]


class RunResult(StrictModel):
    """The results of one training with one seed on one benchmark.

    Attributes:
        benchmark: Name of the protocol.
        scores: Scores by pairing: `asymmetric` searches the gallery side's embeddings with the query encoder's;
            `symmetric` also embeds queries with the gallery side; `light_only` also embeds the gallery with the query
            encoder.
        average_precisions: Average precisions (Q,) by pairing, 0 to 1; the same queries in all runs of a benchmark.
    """

    benchmark: str = ""
    variant: str
    seed: int
    scores: Mapping[Pairing, PairingScores]
    average_precisions: Mapping[Pairing, tuple[Share, ...]]
    seconds: float = Field(ge=0)
    images_per_s: float = Field(ge=0)
    curve: tuple[CurvePoint, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> RunResult:
        if missing := {"asymmetric", "symmetric"} - self.scores.keys():
            raise ValueError(f"no scores for {', '.join(sorted(missing))}")
        if self.scores.keys() != self.average_precisions.keys():
            raise ValueError("scores and average precisions are not of the same pairings")
        for pairing, precisions in self.average_precisions.items():
            mean = math.fsum(precisions) / max(len(precisions), 1)
            if not precisions or abs(mean - self.scores[pairing].map) > _ROUNDING:
                raise ValueError(f"mAP of {pairing} is not the mean of its average precisions")
        return self


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A protocol with the stores of its queries and of its gallery, which includes distractors."""

    protocol: Protocol
    queries: FeatureStore
    gallery: FeatureStore

    @classmethod
    def open(cls, protocol: Protocol, directory: Path) -> Benchmark:
        """Open the stores `<name>-queries` and `<name>-gallery` in a directory.

        Raises:
            FeatureStoreError: A store is missing or altered.
        """
        queries, gallery = (FeatureStore.open(directory / f"{protocol.name}-{part}") for part in ("queries", "gallery"))
        return cls(protocol, queries, gallery)

    @property
    def readable_relevance(self) -> Relevance:
        """Positives and junk as rows of the readable photographs; unreadable ones are ignored."""
        whole = self.protocol.relevance()
        queries = np.flatnonzero(self.queries.readable).tolist()
        places = np.where(self.gallery.readable, np.cumsum(self.gallery.readable) - 1, -1)
        lists = (
            [[int(place) for place in places[rows[query]] if place >= 0] for query in queries]
            for rows in (whole.relevant, whole.ignored)
        )
        return Relevance.of(*lists)

    def score(self, queries: Embeddings, gallery: Embeddings) -> tuple[PairingScores, tuple[float, ...]]:
        """Return mean scores, and the average precision of each query with a positive.

        Args:
            queries: Embeddings (Q, D) of the readable queries, unit length.
            gallery: Embeddings (G, D) of the readable gallery, unit length.
        """
        relevance = self.readable_relevance
        positions = rank_positives(queries, gallery, relevance)
        scores = QueryScores.of(positions, [len(relevant) for relevant in relevance.relevant])
        precisions = scores.average_precisions
        means = PairingScores(map=float(precisions.mean()), recall_at_1=float(scores.found_first.mean()))
        return means, tuple(precisions.tolist())


PairScores = Mapping[Pairing, tuple[PairingScores, tuple[float, ...]]]


def score_pair(
    benchmark: Benchmark, mixer: nn.Module, query_encoder: nn.Module, features: Sequence[str], trunk: str | None
) -> PairScores:
    """Return scores and average precisions of the three pairings of two models in evaluation mode.

    `features` are the names of the mixer's features, `trunk` is that of the frozen trunk's; None for pixels.
    """
    heavy = [
        embed_rows(store, np.flatnonzero(store.readable), mixer, names=features)
        for store in (benchmark.queries, benchmark.gallery)
    ]
    light = [_embed_light(store, query_encoder, trunk) for store in (benchmark.queries, benchmark.gallery)]
    pairings: dict[Pairing, tuple[Embeddings, Embeddings]] = {
        "asymmetric": (light[0], heavy[1]),
        "symmetric": (heavy[0], heavy[1]),
        "light_only": (light[0], light[1]),
    }
    return {name: benchmark.score(q, g) for name, (q, g) in pairings.items()}


@torch.inference_mode()
def _embed_light(store: FeatureStore, query_encoder: nn.Module, feature: str | None) -> Embeddings:
    if feature is not None:
        embeddings: Embeddings = query_encoder(read_vectors(store, feature)).numpy()
        return embeddings
    rows = np.flatnonzero(store.readable)
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    return np.concatenate([query_encoder(torch.from_numpy(store.read_pixels(part))).numpy() for part in parts])


def read_vectors(store: FeatureStore, feature: str) -> Tensor:
    """Return the vectors (N, C) of the readable photographs of a store, unchanged."""
    found = store.read_features(np.flatnonzero(store.readable), [feature])[feature]
    return found.values[:, 0]
