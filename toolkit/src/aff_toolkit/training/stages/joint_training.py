"""Joint training of the mixer and the query encoder (Wu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate.accelerator import Accelerator
from torch import Tensor, nn

from aff_toolkit.models.fine_tuning import FineTuning
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.joint_model import JointModel, SharedClassifier, Stage
from aff_toolkit.training.engine.optimisation import TrainingPlan, Validate
from aff_toolkit.training.engine.training_log import TrainingLog
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import TrainingSet, generator_of, shuffled_batches
from aff_toolkit.training.recipe.training_recipe import TrainingRecipe

_STAGES: Mapping[str, tuple[Stage, ...]] = {"two_stage": ("gallery", "query"), "gallery_only": ("gallery",)}


class Scores(Protocol):
    """Validation of a pair during training: `Validation`, or the curve of an ablation."""

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """Return figures by name, `asymmetric_map` among them, of two models in evaluation mode."""
        ...


@dataclass(frozen=True, slots=True)
class TrainedPair:
    """A gallery mixer and the query encoder that was trained with it.

    Attributes:
        mixer: Mixer in evaluation mode, on the CPU.
        query_encoder: Query encoder in evaluation mode, on the CPU.
        prototypes: (C, D) float32, w_mix at the end of the training.
        instances: Names of the C instances of the prototypes.
        steps: Number of steps after which the weights were saved, and number of all steps, by stage.
    """

    mixer: nn.Module
    query_encoder: QueryEncoder
    prototypes: Tensor
    instances: tuple[str, ...]
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def train_pair(
    photographs: TrainingSet,
    mixer: nn.Module,
    query_encoder: QueryEncoder,
    recipe: TrainingRecipe,
    *,
    directory: Path | None,
    configuration: dict[str, Any],
    log: TrainingLog,
    validation: Scores | None = None,
    prototypes: Tensor | None = None,
) -> TrainedPair:
    """Minimise L_disc and the compatibility losses with one optimiser over both models, or in two stages.

    Args:
        photographs: Training set with pixels, labels and the mixer's features.
        mixer: Mixer, trained in place unless the recipe's base is frozen.
        query_encoder: Query encoder, trained in place.
        recipe: The recipe.
        directory: Directory of the checkpoints; None writes none.
        configuration: JSON settings that have to match for a checkpoint to be resumed.
        log: Log of the training.
        validation: Validation that selects the best weights of the last stage; without a directory it only measures
            them.
        prototypes: (C, D) start of w_mix, in the order of the labels.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    section = recipe.joint
    torch.manual_seed(recipe.seed)
    classifier = SharedClassifier(photographs.classes, recipe.dimension, section.update.alpha)
    if prototypes is not None:
        with torch.no_grad():
            classifier.w_mix.copy_(prototypes)
        classifier.settle()
    fine_tuning = recipe.query_encoder.fine_tuning
    start = {name: tensor.clone() for name, tensor in query_encoder.state_dict().items()} if fine_tuning else {}
    stages = stages_of(recipe)
    steps: dict[str, tuple[int, int]] = {}
    for stage in stages:
        model = JointModel(
            mixer,
            query_encoder,
            classifier,
            discriminative=section.discriminative,
            compatible=section.losses,
            update=section.update,
            stage=stage,
            train_size=recipe.query_encoder.train_size,
            augmentation=section.augmentation,
            fine_tuning=fine_tuning,
            anchor_weight=section.anchor_weight,
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
            validate=None
            if validation is None or stage != stages[-1]
            else _validate(validation, model, fine_tuning or FineTuning(), start),
        )
        with log.stage(stage, None, "images") as stage_log:
            loop = TrainingLoop(model, plan, Accelerator(), stage_log)
            steps[stage] = (loop.run(), loop.steps)
        if stage == "gallery":
            classifier.settle()
    if fine_tuning is not None:
        fine_tuning.keep_share(query_encoder.cpu(), start)
    instances = tuple(str(name) for name in photographs.instances)
    prototypes = classifier.w_mix.detach().cpu()
    return TrainedPair(mixer.cpu().eval(), query_encoder.cpu().eval(), prototypes, instances, steps)


def _validate(validation: Scores, model: JointModel, fine_tuning: FineTuning, start: Mapping[str, Tensor]) -> Validate:
    """Return a function that scores the weights that the training would end with."""

    def scores() -> dict[str, float]:
        with fine_tuning.share_kept(model.query_encoder, start):
            return validation.scores(model.mixer, model.query_encoder)

    return scores


def stages_of(recipe: TrainingRecipe) -> tuple[Stage, ...]:
    """Return the stages of a recipe's joint training in order."""
    kept = recipe.base is not None and recipe.base.mixer == "frozen"
    if kept:
        return () if recipe.joint.update.kind == "gallery_only" else ("query",)
    return _STAGES.get(recipe.joint.update.kind, ("joint",))
