"""A bundle trained by the smallest recipe, with what the training left in its work directory."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from aff_shared.bundles.bundle import BundleManifest, MixerSpec
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe
from aff_toolkit.training.stages.train_bundle import TrainBundle
from tests.support.tiny_recipe import TINY_RECIPE_TOML


@dataclass(frozen=True, slots=True)
class TinyTraining:
    """The results of a training.

    Attributes:
        bundle: Directory of the bundle.
        work: Directory of the log, the features and the checkpoints.
        manifest: The bundle's manifest as the training returned it.
    """

    bundle: Path
    work: Path
    manifest: BundleManifest


def tiny_recipe() -> TrainingRecipe:
    """The smallest recipe."""
    return TrainingRecipe.model_validate(tomllib.loads(TINY_RECIPE_TOML))


def train_tiny_bundle(directory: Path) -> TinyTraining:
    """Train by the smallest recipe into `directory`."""
    recipe, work, bundle = tiny_recipe(), directory / "work", directory / "bundle"
    log = TrainingLog(work, Console(quiet=True))
    manifest = TrainBundle(recipe, work, log).run(bundle, protocols_of_recipe(recipe)).manifest
    return TinyTraining(bundle, work, manifest)


def tiny_mixer_spec() -> MixerSpec:
    """A mixer that fits the smallest recipe."""
    return MixerSpec(weights="none", layers=1, heads=2, mlp_ratio=2.0, dropout=0.1)
