"""Joint training of the mixer and the query encoder (Wu et al., CVPR 2023, sec. 3.3)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator
from torch import nn

from aff_contracts.bundle import FeatureSpec, MixerSpec
from aff_toolkit.training.joint_model import JointModel, Stage
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.sampling import generator_of, shuffled_batches
from aff_toolkit.training.shared_classifier import SharedClassifier
from aff_toolkit.training.training_log import TrainingLog
from aff_toolkit.training.training_loop import TrainingLoop, TrainingPlan
from aff_toolkit.training.training_set import TrainingSet
from aff_toolkit.training.update_rule import UpdateRule
from gallery_indexer.mixers.build_mixer import build_mixer


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A gallery mixer and the query encoder that was trained with it."""

    mixer: nn.Module
    query_encoder: QueryEncoder


def train_pair(
    photographs: TrainingSet,
    query_encoder: QueryEncoder,
    features: tuple[FeatureSpec, ...],
    mixer_spec: MixerSpec,
    recipe: TrainingRecipe,
    *,
    directory: Path | None,
    configuration: dict[str, Any],
    log: TrainingLog,
) -> TrainedPair:
    """Minimise L_disc and the compatibility losses with one optimiser over both models, or in two stages.

    Args:
        photographs: Pixels, labels, and the features named by `features`.
        query_encoder: Learns in place.
        features: The features, in the mixer's order.
        mixer_spec: Kind and size of the mixer.
        recipe: Everything else.
        directory: Of the checkpoints; none are written without it.
        configuration: What has to be equal for a checkpoint to be taken up, in JSON.
        log: Told of every stage.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    section = recipe.joint
    torch.manual_seed(recipe.seed)
    mixer = build_mixer(features, mixer_spec, recipe.dimension)
    classifier = SharedClassifier(photographs.classes, recipe.dimension, section.update.alpha)
    for stage in _stages_of(section.update):
        model = JointModel(
            mixer,
            query_encoder,
            classifier,
            discriminative=section.discriminative,
            compatible=section.losses,
            update=section.update,
            stage=stage,
            train_size=recipe.query_encoder.train_size,
        )
        plan = TrainingPlan(
            batches_of_epoch=lambda epoch: shuffled_batches(
                len(photographs), section.optimisation.batch_size, generator_of(recipe.seed, epoch)
            ),
            training_set=photographs,
            section=section.optimisation,
            seed=recipe.seed,
            directory=None if directory is None else directory / stage,
            configuration=configuration,
        )
        with log.stage(stage, None, "images") as stage_log:
            TrainingLoop(model, plan, Accelerator(), stage_log).run()
        if stage == "gallery":
            classifier.settle()
    return TrainedPair(mixer.cpu().eval(), query_encoder.cpu().eval())


def _stages_of(update: UpdateRule) -> tuple[Stage, ...]:
    return ("gallery", "query") if update.kind == "two_stage" else ("joint",)
