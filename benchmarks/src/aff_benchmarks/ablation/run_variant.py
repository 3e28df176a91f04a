"""One training of an ablation: a variant with a seed, and its scores on the benchmarks.

With a frozen trunk, the trunk's vectors are computed once, and only a head is trained. On two cores, a training takes
seconds instead of minutes from pixels, which allows many variants, seeds and steps.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from aff_benchmarks.ablation.materials import BACKBONE, Materials
from aff_benchmarks.ablation.variant import Benchmark, CurvePoint, RunResult, Variant, read_vectors, score_pair
from aff_shared.bundles.bundle import FeatureSpec
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.engine.training_loop import SELECTED
from aff_toolkit.training.engine.training_set import TrainingSet
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.feature_store import FeatureStore, mean_embeddings
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.export import TrainedPair
from aff_toolkit.training.stages.joint_training import train_pair
from aff_toolkit.training.stages.query_side import fit_partial_whitening
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer, build_mixer

_HEAD = "network.whitening."


class FrozenTrunkEncoder(QueryEncoder):
    """A whitening layer on vectors of a frozen trunk, and L2 (Wu et al., CVPR 2023)."""

    def __init__(self, channels: int, dimension: int, *, normalises_embeddings: bool = True) -> None:
        """Create the head with random weights, from `channels` to `dimension` numbers.

        With `normalises_embeddings`, batch statistics centre and scale the embeddings; see LightweightEncoder.
        """
        whitening = nn.Linear(channels, dimension)
        super().__init__(nn.Sequential(whitening, nn.BatchNorm1d(dimension)) if normalises_embeddings else whitening)
        self.whitening = whitening

    def forward(self, image: Tensor) -> Tensor:
        """Embed the vectors (B, C) of a batch: (B, D) float32, unit length."""
        return F.normalize(self.network(image).float(), dim=-1)


class FrozenTrunkSet(TrainingSet):
    """The photographs of a store, with the trunk's vectors instead of pixels for the query encoder."""

    def __init__(self, store: FeatureStore, features: Sequence[str], light: FeatureStore, feature: str) -> None:
        """Select the readable rows of a store, and the trunk's feature in several augmented copies from `light`."""
        super().__init__(store, features)
        self._light, self._feature = light, feature

    def _images(self, epoch: int, rows: NDArray[np.int64]) -> Tensor:
        """Return the vectors (B, C) float32 of copies that are random by epoch and rows."""
        copies = np.random.default_rng([epoch, int(rows[0])]).integers(self._light.copies, size=len(rows))
        return self._light.read_features(rows, [self._feature], copies)[self._feature].values[:, 0]


def start_at_trunk(mixer: AnchoredMixer, encoder: FrozenTrunkEncoder, store: FeatureStore, exponent: float) -> None:
    """Initialise the anchor and the head, which has no batch statistics, with one whitening of the trunk's vectors.

    The whitening is fitted on a store, with `exponent`: see fit_partial_whitening.

    Raises:
        TooFewPhotographsError: The store has no more photographs than dimensions.
    """
    vectors = read_vectors(store, mixer.anchor_name).numpy()
    weight, bias = fit_partial_whitening(vectors, len(mixer.anchor_bias), exponent)
    mixer.set_anchor(weight, bias)
    with torch.no_grad():
        encoder.whitening.weight.copy_(weight)
        encoder.whitening.bias.copy_(bias)


def training_set(materials: Materials, features: Sequence[str]) -> TrainingSet:
    """Return the training set of a variant with these features."""
    if materials.trunk is None or materials.light is None:
        return TrainingSet(materials.training, features)
    return FrozenTrunkSet(materials.training, features, materials.light, materials.trunk)


def new_query_encoder(materials: Materials, seed: int) -> QueryEncoder:
    """Return a query encoder with the pretrained or frozen backbone, and a random whitening layer."""
    torch.manual_seed(seed)
    recipe = materials.config.recipe
    if materials.trunk is not None:
        channels = next(feature.dimension for feature in materials.features if feature.name == materials.trunk)
        return FrozenTrunkEncoder(channels, recipe.dimension, normalises_embeddings=recipe.mixer.anchor is None)
    encoder = QUERY_BACKBONES[recipe.query_encoder.backbone].build(recipe.dimension)
    trunk = {k: v for k, v in load_file(materials.directory / BACKBONE).items() if not k.startswith(_HEAD)}
    encoder.load_state_dict(trunk, strict=False)
    return encoder


def run_variant(materials: Materials, variant: Variant, seed: int, log_directory: Path) -> tuple[RunResult, ...]:
    """Train a variant with a seed and score it on each benchmark; reproducible up to rounding.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    recipe, features = _recipe_of(materials, variant, seed), _features_of(materials, variant)
    names = [feature.name for feature in features]
    torch.manual_seed(seed)
    spec = recipe.mixer.model_copy(update={"kind": variant.mixer}).spec("none")
    mixer = build_mixer(features, spec, recipe.dimension)
    photographs, query_encoder = training_set(materials, names), new_query_encoder(materials, seed)
    if isinstance(mixer, AnchoredMixer) and isinstance(query_encoder, FrozenTrunkEncoder):
        start_at_trunk(mixer, query_encoder, materials.training, recipe.mixer.anchor_whitening)
    curve, log = _Curve(materials, names), TrainingLog(log_directory, Console(quiet=True))
    validation = curve if _draws_curve(materials, seed) else None
    options: dict[str, Any] = {"log": log, "validation": validation}
    started = time.perf_counter()
    if recipe.joint.prototypes == "means":
        options["prototypes"] = mean_embeddings(materials.training, photographs.rows, photographs.labels, mixer)
    pair = train_pair(photographs, mixer, query_encoder, recipe, directory=None, configuration={}, **options)
    seconds = time.perf_counter() - started
    images_per_s = len(photographs) * recipe.joint.optimisation.epochs / seconds
    run = {"variant": variant.name, "seed": seed, "seconds": seconds, "images_per_s": images_per_s}
    return tuple(_result(materials, benchmark, pair, curve, run) for benchmark in materials.benchmarks)


def _result(
    materials: Materials, benchmark: Benchmark, pair: TrainedPair, curve: _Curve, run: Mapping[str, Any]
) -> RunResult:
    scored = score_pair(benchmark, pair.mixer, pair.query_encoder, curve.features, materials.trunk)
    return RunResult(
        **run,
        benchmark=benchmark.protocol.name,
        scores={pairing: scores for pairing, (scores, _) in scored.items()},
        average_precisions={pairing: each for pairing, (_, each) in scored.items()},
        curve=tuple(curve.points.get(benchmark.protocol.name, ())),
    )


@dataclass(slots=True)
class _Curve:
    """Scores a pair on all benchmarks during the training, without selecting a checkpoint."""

    materials: Materials
    features: Sequence[str]
    points: dict[str, list[CurvePoint]] = field(default_factory=dict)

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """See Scores."""
        interval = self.materials.config.curve_interval_epochs or 1
        figures: dict[str, float] = {}
        for benchmark in self.materials.benchmarks:
            scored = score_pair(benchmark, mixer, query_encoder, self.features, self.materials.trunk)
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
