"""Trains the pair of a bundle, in as many rounds as the recipe specifies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.head_fitting import LAST_LAYER, HeadFitting, fitted_layer, pooled_photographs
from aff_toolkit.training.engine.training_set import TrainingSet, generator_of
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_embeddings import embed_rows, mean_embeddings
from aff_toolkit.training.recipe.training_recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.gallery_side import GallerySide
from aff_toolkit.training.stages.joint_training import TrainedPair, train_pair
from aff_toolkit.training.stages.training_rows import TrainingRows
from aff_toolkit.training.stages.work_directory import WorkDirectory
from gallery_indexer.features.mixers.anchored import AnchoredMixer

_CLASSIFYING = ("arcface", "lce")


@dataclass(frozen=True, slots=True)
class PairTraining:
    """Joint training of mixer and query encoder; then the query encoder's head is fitted to the mixer, if requested.

    Attributes:
        recipe: The recipe.
        work: Directory of the checkpoints, and the log.
        gallery: Extractors and base.
        store: Features of the photographs.
        rows: Photographs that are trained on, and the validation.
    """

    recipe: TrainingRecipe
    work: WorkDirectory
    gallery: GallerySide
    store: FeatureStore
    rows: TrainingRows

    def run(self, mixer: nn.Module, query_encoder: QueryEncoder) -> TrainedPair:
        """Train both models, in place in the first round.

        Args:
            mixer: Mixer of the first round; later rounds start with a new one.
            query_encoder: Query encoder of all rounds.

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
            self._fit(fitting, head, pooled, torch.from_numpy(embed_rows(self.store, fitted, mixer)))
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

    def _fit(self, fitting: HeadFitting, head: nn.Linear, pooled: list[Tensor], targets: Tensor) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator_of(self.recipe.seed, 0).initial_seed())
            fitting.fit(head, pooled, targets)

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
