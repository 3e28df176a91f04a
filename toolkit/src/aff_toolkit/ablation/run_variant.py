"""One training of an ablation: a variant with a seed, scored on the benchmark."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import nn

from aff_toolkit.ablation.materials import Materials
from aff_toolkit.ablation.variant import Pairing, PairingScores, RunResult, Variant
from aff_toolkit.evaluation.retrieval_scores import average_precision
from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.joint_training import train_pair
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.store_embeddings import embed_rows
from aff_toolkit.training.training_log import TrainingLog
from aff_toolkit.training.training_set import TrainingSet
from gallery_indexer.mixers.build_mixer import build_mixer

_BATCH = 64

Embeddings = NDArray[np.float32]


def run_variant(materials: Materials, variant: Variant, seed: int, log_directory: Path) -> RunResult:
    """Train a variant from a seed and score it; a function of its arguments alone, but for rounding.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    recipe = _recipe_of(materials, variant, seed)
    features = tuple(f for name in variant.features for f in materials.features if f.name == name)
    torch.manual_seed(seed)
    spec = recipe.mixer.model_copy(update={"kind": variant.mixer}).spec("none")
    mixer = build_mixer(features, spec, recipe.dimension)
    photographs = TrainingSet(materials.training, variant.features)
    started = time.perf_counter()
    pair = train_pair(
        photographs,
        mixer,
        materials.new_query_encoder(seed),
        recipe,
        directory=None,
        configuration={},
        log=TrainingLog(log_directory, Console(quiet=True)),
    )
    seconds = time.perf_counter() - started
    precisions = score_pair(materials, pair.mixer, pair.query_encoder)
    return RunResult(
        variant=variant.name,
        seed=seed,
        scores={pairing: scores for pairing, (scores, _) in precisions.items()},
        average_precisions={pairing: each for pairing, (_, each) in precisions.items()},
        seconds=seconds,
        images_per_s=len(photographs) * recipe.joint.optimisation.epochs / seconds,
    )


def _recipe_of(materials: Materials, variant: Variant, seed: int) -> TrainingRecipe:
    recipe = materials.config.recipe
    joint = recipe.joint.model_copy(update={"losses": variant.losses, "update": variant.update})
    return recipe.model_copy(update={"seed": seed, "joint": joint})


def score_pair(
    materials: Materials, mixer: nn.Module, query_encoder: nn.Module
) -> Mapping[Pairing, tuple[PairingScores, tuple[float, ...]]]:
    """Return scores and average precisions of the three pairings of two models in evaluation mode."""
    queries, gallery = materials.queries, materials.gallery
    heavy = _embed_heavy(queries, mixer), _embed_heavy(gallery, mixer)
    light = _embed_light(queries, query_encoder), _embed_light(gallery, query_encoder)
    asked = np.asarray(queries.instances)[queries.readable]
    found = np.asarray(gallery.instances)[gallery.readable]
    pairings: dict[Pairing, tuple[Embeddings, Embeddings]] = {
        "asymmetric": (light[0], heavy[1]),
        "symmetric": heavy,
        "light_only": light,
    }
    return {name: _score(q, g, asked, found) for name, (q, g) in pairings.items()}


def _score(
    queries: Embeddings, gallery: Embeddings, asked: NDArray[np.str_], found: NDArray[np.str_]
) -> tuple[PairingScores, tuple[float, ...]]:
    precisions, hits = [], []
    for embedding, name in zip(queries, asked, strict=True):
        relevant = (found == name)[np.argsort(-(gallery @ embedding), kind="stable")]
        precisions.append(average_precision(relevant, int(relevant.sum())))
        hits.append(bool(relevant[0]))
    return PairingScores(map=float(np.mean(precisions)), recall_at_1=float(np.mean(hits))), tuple(precisions)


def _embed_heavy(store: FeatureStore, mixer: nn.Module) -> Embeddings:
    return embed_rows(store, np.flatnonzero(store.readable), mixer)


@torch.inference_mode()
def _embed_light(store: FeatureStore, query_encoder: nn.Module) -> Embeddings:
    rows = np.flatnonzero(store.readable)
    parts = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    return np.concatenate([query_encoder(torch.from_numpy(store.read_pixels(part))).numpy() for part in parts])
