"""Joint training of the mixer and the query encoder (Wu et al., CVPR 2023)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.head_fitting import LAST_LAYER, fitted_layer, pooled_photographs
from aff_toolkit.training.engine.joint_model import FineTuning, JointModel, SharedClassifier, Stage
from aff_toolkit.training.engine.optimisation import TrainingPlan, Validate
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import TrainingSet, generator_of, shuffled_batches
from aff_toolkit.training.engine.work_directory import TrainingLog, WorkDirectory
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows, mean_embeddings
from aff_toolkit.training.recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.export import TrainedPair
from aff_toolkit.training.stages.gallery_side import GallerySide
from aff_toolkit.training.stages.training_rows import TrainingRows
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer

_STAGES: Mapping[str, tuple[Stage, ...]] = {"two_stage": ("gallery", "query"), "gallery_only": ("gallery",)}
_CLASSIFYING = ("arcface", "lce")


class Scores(Protocol):
    """Validation of a pair during training: `Validation`, or the curve of an ablation."""

    def scores(self, mixer: nn.Module, query_encoder: nn.Module) -> dict[str, float]:
        """Return figures by name, `asymmetric_map` among them, of two models in evaluation mode."""
        ...


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
        validation: Validation that selects the best weights of the last stage; without a directory it only measures.
        prototypes: (C, D) start of w_mix, in the order of the labels.

    Raises:
        TrainingError: See TrainingLoop.run.
    """
    torch.manual_seed(recipe.seed)
    classifier = SharedClassifier(photographs.classes, recipe.dimension, recipe.joint.update.alpha)
    if prototypes is not None:
        with torch.no_grad():
            classifier.w_mix.copy_(prototypes)
        classifier.settle()
    fine_tuning = recipe.query_encoder.fine_tuning
    start = {name: tensor.clone() for name, tensor in query_encoder.state_dict().items()} if fine_tuning else {}
    steps: dict[str, tuple[int, int]] = {}
    for stage in (stages := stages_of(recipe)):
        size = recipe.query_encoder.train_size
        model = JointModel(
            mixer, query_encoder, classifier, recipe.joint, stage=stage, train_size=size, fine_tuning=fine_tuning
        )
        validate = None
        if validation is not None and stage == stages[-1]:
            validate = _validate(validation, model, fine_tuning or FineTuning(), start)
        plan = _plan(photographs, recipe, directory and directory / stage, configuration, validate)
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


def _plan(
    photographs: TrainingSet,
    recipe: TrainingRecipe,
    directory: Path | None,
    configuration: dict[str, Any],
    validate: Validate | None,
) -> TrainingPlan:
    section, size = recipe.joint.optimisation, len(photographs)
    return TrainingPlan(
        lambda epoch: shuffled_batches(size, section.batch_size, generator_of(recipe.seed, epoch)),
        photographs,
        section,
        recipe.seed,
        directory,
        configuration,
        validate,
    )


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


@dataclass(frozen=True, slots=True)
class PairTraining:
    """Joint training of mixer and query encoder; then the query encoder's head is fitted to the mixer, if requested."""

    recipe: TrainingRecipe
    work: WorkDirectory
    gallery: GallerySide
    store: FeatureStore
    rows: TrainingRows

    def run(self, mixer: nn.Module, query_encoder: QueryEncoder) -> TrainedPair:
        """Train both models, in place in the first round; later rounds start with a new mixer.

        Raises:
            TrainingError: See train_pair.
            RecipeError: The losses need prototypes that the base does not have.
        """
        features = [feature.name for feature in self.gallery.features]
        photographs = TrainingSet(self.store, features, instances=self.rows.instances)
        fitting, head = self.recipe.joint.head_fitting, fitted_layer(query_encoder)
        if fitting is None or head is None:
            return self._train(photographs, mixer, query_encoder)
        fitted = np.sort(np.random.default_rng(self.recipe.seed).permutation(photographs.rows)[: fitting.photographs])
        for number in range(1, fitting.rounds + 1):
            pair = self._train(photographs, mixer, query_encoder, number)
            if number == 1:  # later rounds do not change the layers below the head
                pooled = self._pooled(query_encoder, fitted, fitting.views)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(generator_of(self.recipe.seed, 0).initial_seed())
                fitting.fit(head, pooled, torch.from_numpy(embed_rows(self.store, fitted, mixer)))
            if number < fitting.rounds:
                torch.manual_seed(self.recipe.seed)
                mixer = self.gallery.make_mixer(self.recipe)
                assert isinstance(mixer, AnchoredMixer), "the recipe requires it for rounds"
                mixer.set_anchor(head.weight, head.bias)
        return pair

    def _train(
        self, photographs: TrainingSet, mixer: nn.Module, query_encoder: QueryEncoder, number: int = 1
    ) -> TrainedPair:
        joint = self.recipe.joint.model_dump(mode="json", exclude={"sources", "optimisation", "head_fitting"})
        checkpoints, base = self.work.path / "checkpoints", self.gallery.base
        return train_pair(
            photographs,
            mixer,
            query_encoder,
            self.recipe,
            directory=checkpoints if number == 1 else checkpoints / f"round-{number}",
            configuration={
                "base": base.manifest.fingerprint if base else None,
                "mixer": self.recipe.mixer.model_dump(mode="json"),
                "joint": joint,
                "query encoder": self.recipe.query_encoder.model_dump(mode="json"),
                "photographs": self.store.key,
            },
            log=self.work.log,
            validation=self.rows.validation,
            prototypes=self._prototypes(photographs, mixer),
        )

    def _pooled(self, query_encoder: QueryEncoder, rows: NDArray[np.int64], views: int) -> list[Tensor]:
        """Return the inputs of the query encoder's last layer for photographs, and for augmented views of them."""
        size, seed = self.recipe.query_encoder.input_size, self.recipe.seed
        augmentations = [None, *[self.recipe.joint.augmentation] * views]
        with self.work.log.stage(LAST_LAYER, len(rows) * len(augmentations), "images") as bar:
            return [
                pooled_photographs(query_encoder, self.store, rows, size, augmentation, seed + number, bar.advance)
                for number, augmentation in enumerate(augmentations)
            ]

    def _prototypes(self, photographs: TrainingSet, mixer: nn.Module) -> Tensor | None:
        """Return the start of w_mix; None for random directions."""
        base = self.gallery.frozen_base(self.recipe)
        if base is not None and any(loss.kind in _CLASSIFYING for loss in self.recipe.joint.losses):
            prototypes = base.prototypes_of(photographs.instances.tolist())
            if prototypes is None:
                detail = f"{base.directory} holds no prototypes of these photographs' instances; train by reg or csd"
                raise RecipeError(detail, item="joint.losses")
            return prototypes
        if self.recipe.joint.prototypes == "random":
            return None
        return mean_embeddings(self.store, photographs.rows, photographs.labels, mixer)
