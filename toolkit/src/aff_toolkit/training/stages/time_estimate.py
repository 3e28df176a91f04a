"""Estimates the time of a training with a bundle's extractors from a few of its photographs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from aff_shared.errors import AffError
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.engine.head_fitting import LAST_LAYER
from aff_toolkit.training.engine.joint_model import Stage
from aff_toolkit.training.features.extract_features import Extract
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.evaluate_bundle import MEASURING
from aff_toolkit.training.stages.held_out import MOST_DISTRACTORS, TrainingPhotographs
from aff_toolkit.training.stages.joint_training import stages_of
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images

FEATURES = "features"

_SAMPLE = 8
_MINUTE_S = 60
# Share of a forward pass in forward and backward pass.
_FORWARD_SHARE = 1 / 3
# Graphs of the trained bundle and its base, each in float32 and int8.
_GRAPHS = 4


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Estimated seconds by stage, in order."""

    seconds: Mapping[str, float]

    def describe(self) -> str:
        """Return the times as text."""
        parts = ", ".join(f"{stage} {_minutes(seconds)}" for stage, seconds in self.seconds.items())
        return f"will take about {_minutes(sum(self.seconds.values()))} ({parts}), measured on a few photographs"


def estimate_time(
    recipe: TrainingRecipe, photographs: TrainingPhotographs, extract: Extract, mixer: nn.Module, device: torch.device
) -> TimeEstimate | None:
    """Estimate the time of extraction, joint training in one process, and measurement; the mixer is not changed.

    Returns:
        None if none of the sampled photographs can be read.
    """
    images = _some_readable(photographs)
    if not images:
        return None
    extraction = _seconds(lambda: extract(images)) / len(images)
    features = {name: _trainable(batch.to(device)) for name, batch in extract(images).items()}
    with torch.random.fork_rng():
        fusing, querying = _training_seconds(recipe, mixer, features, len(images), device)
    by_stage: dict[Stage, float] = {
        "joint": fusing + querying,
        "gallery": fusing,
        "query": _FORWARD_SHARE * fusing + querying,
    }
    trained_on = len(photographs.trained_on)
    measured = len(photographs.held_out) * (1 if photographs.labelled else 2)
    searched = measured + min(trained_on, MOST_DISTRACTORS)
    fitting = recipe.joint.head_fitting
    heads = 0 if fitting is None else min(trained_on, fitting.photographs) * (1 + fitting.views)
    return TimeEstimate(
        {FEATURES: trained_on * recipe.joint.copies * extraction}
        | {stage: trained_on * recipe.joint.optimisation.epochs * by_stage[stage] for stage in stages_of(recipe)}
        | ({} if fitting is None else {LAST_LAYER: heads * _FORWARD_SHARE * querying})
        | {MEASURING: measured * extraction + _GRAPHS * searched * _FORWARD_SHARE * querying}
    )


def _some_readable(photographs: TrainingPhotographs) -> Images:
    """Return a few evenly spaced training photographs."""
    chosen = photographs.trained_on[:: max(len(photographs.trained_on) // _SAMPLE, 1)][:_SAMPLE]
    images = []
    for photograph in chosen:
        try:
            images.append(photograph.load())
        except AffError:
            continue
    return images


def _trainable(batch: FeatureBatch) -> FeatureBatch:
    """Copy features that were extracted in inference mode, so that gradients are possible."""
    positions = None if batch.positions is None else batch.positions.clone()
    return FeatureBatch(batch.values.clone(), batch.mask.clone(), positions)


def _training_seconds(
    recipe: TrainingRecipe, mixer: nn.Module, features: Mapping[str, FeatureBatch], count: int, device: torch.device
) -> tuple[float, float]:
    """Return the seconds per photograph of forward and backward pass of mixer and query encoder."""
    section = recipe.query_encoder
    encoder = QUERY_BACKBONES[section.backbone].build(recipe.dimension).to(device)
    if section.fine_tuning is not None:
        section.fine_tuning.freeze(encoder)
    own = copy.deepcopy(mixer).to(device)
    pixels = torch.rand(count, section.train_size, section.train_size, 3, device=device) * 255
    fusing = _seconds(lambda: _backward(own, own(features))) / count
    return fusing, _seconds(lambda: _backward(encoder, encoder(pixels))) / count


def _backward(module: nn.Module, embeddings: torch.Tensor) -> float:
    if any(parameter.requires_grad for parameter in module.parameters()):
        embeddings.square().mean().backward()
    return float(embeddings.detach().sum())  # waits for the device


def _seconds(work: Callable[[], object]) -> float:
    """Return the duration of the second of two calls."""
    work()
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < _MINUTE_S else f"{seconds / _MINUTE_S:.0f} min"
