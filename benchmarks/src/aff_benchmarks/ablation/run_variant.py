"""One training of an ablation: a variant with a seed, and its scores on the benchmarks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import nn

from aff_benchmarks.ablation.materials import Materials
from aff_benchmarks.ablation.networks import FrozenTrunkEncoder, read_vectors, start_at_trunk
from aff_benchmarks.ablation.variant import (
    Benchmark,
    CurvePoint,
    Embeddings,
    Pairing,
    PairingScores,
    RunResult,
    Variant,
)
from aff_shared.bundles.bundle import FeatureSpec
from aff_toolkit.training.engine.training_loop import SELECTED
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows, mean_embeddings
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.joint_training import train_pair
from gallery_indexer.features.mixers.anchored import AnchoredMixer
from gallery_indexer.features.mixers.build_mixer import build_mixer

_BATCH = 64

PairScores = Mapping[Pairing, tuple[PairingScores, tuple[float, ...]]]


def run_variant(materials: Materials, variant: Variant, seed: int, log_directory: Path) -> tuple[RunResult, ...]:
    """Train a variant with a seed and score it; reproducible up to rounding.

    Returns:
        Results by benchmark.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    recipe = _recipe_of(materials, variant, seed)
    features = _features_of(materials, variant)
    names = [feature.name for feature in features]
    torch.manual_seed(seed)
    spec = recipe.mixer.model_copy(update={"kind": variant.mixer}).spec("none")
    mixer = build_mixer(features, spec, recipe.dimension)
    photographs = materials.photographs(names)
    query_encoder = materials.new_query_encoder(seed)
    if isinstance(mixer, AnchoredMixer) and isinstance(query_encoder, FrozenTrunkEncoder):
        start_at_trunk(mixer, query_encoder, materials.training, recipe.mixer.anchor_whitening)
    means = recipe.joint.prototypes == "means"
    curve = _Curve(materials, names)
    started = time.perf_counter()
    pair = train_pair(
        photographs,
        mixer,
        query_encoder,
        recipe,
        directory=None,
        configuration={},
        log=TrainingLog(log_directory, Console(quiet=True)),
        validation=curve if _draws_curve(materials, seed) else None,
        prototypes=mean_embeddings(materials.training, photographs.rows, photographs.labels, mixer) if means else None,
    )
    seconds = time.perf_counter() - started
    results = []
    for benchmark in materials.benchmarks:
        scored = score_pair(materials, benchmark, pair.mixer, pair.query_encoder, names)
        results.append(
            RunResult(
                benchmark=benchmark.protocol.name,
                variant=variant.name,
                seed=seed,
                scores={pairing: scores for pairing, (scores, _) in scored.items()},
                average_precisions={pairing: each for pairing, (_, each) in scored.items()},
                seconds=seconds,
                images_per_s=len(photographs) * recipe.joint.optimisation.epochs / seconds,
                curve=tuple(curve.points.get(benchmark.protocol.name, ())),
            )
        )
    return tuple(results)


@dataclass(slots=True)
class _Curve:
    """Scores a pair on all benchmarks during the training, without selecting a checkpoint.

    Attributes:
        points: Scores so far, by benchmark.
    """

    materials: Materials
    features: Sequence[str]
    points: dict[str, list[CurvePoint]] = field(default_factory=dict)

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """See Scores."""
        interval = self.materials.config.curve_interval_epochs or 1
        figures: dict[str, float] = {}
        for benchmark in self.materials.benchmarks:
            scored = score_pair(self.materials, benchmark, mixer, query_encoder, self.features)
            means = {pairing: scores.map for pairing, (scores, _) in scored.items()}
            points = self.points.setdefault(benchmark.protocol.name, [])
            epoch = min(len(points) * interval, self.materials.config.recipe.joint.optimisation.epochs)
            points.append(CurvePoint(epoch=epoch, map=means))
            figures |= {f"{benchmark.protocol.name}_{pairing}": value for pairing, value in means.items()}
        return {**figures, SELECTED: next(iter(figures.values()))}


def _draws_curve(materials: Materials, seed: int) -> bool:
    return materials.config.curve_interval_epochs is not None and seed == materials.config.seeds[0]


def _features_of(materials: Materials, variant: Variant) -> tuple[FeatureSpec, ...]:
    """Return the variant's features in its order, and the anchor of an anchored mixer."""
    names = [*variant.features, materials.config.recipe.mixer.anchor]
    return tuple(feature for name in names for feature in materials.features if feature.name == name)


def _recipe_of(materials: Materials, variant: Variant, seed: int) -> TrainingRecipe:
    config = materials.config
    changes: dict[str, object] = {"losses": variant.losses, "update": variant.update}
    if _draws_curve(materials, seed):
        interval = {"validation_interval_epochs": config.curve_interval_epochs}
        changes["optimisation"] = config.recipe.joint.optimisation.model_copy(update=interval)
    return config.recipe.model_copy(update={"seed": seed, "joint": config.recipe.joint.model_copy(update=changes)})


def score_pair(
    materials: Materials, benchmark: Benchmark, mixer: nn.Module, query_encoder: nn.Module, features: Sequence[str]
) -> PairScores:
    """Return scores and average precisions of the three pairings of two models in evaluation mode.

    Args:
        materials: Materials of the ablation.
        benchmark: Queries and gallery.
        mixer: Mixer of `features`.
        query_encoder: Query encoder of pixels, or of vectors of the frozen trunk.
        features: Names of features in the stores.
    """
    trunk = materials.config.frozen_trunk
    feature = None if trunk is None else trunk.feature
    heavy = [
        embed_rows(store, np.flatnonzero(store.readable), mixer, names=features)
        for store in (benchmark.queries, benchmark.gallery)
    ]
    light = [_embed_light(store, query_encoder, feature) for store in (benchmark.queries, benchmark.gallery)]
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
