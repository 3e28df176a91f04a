"""From a recipe to a model bundle: extractors, features, joint training, export, measurement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from accelerate.utils.dataclasses import InitProcessGroupKwargs
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor, nn

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TrainingNotWrittenError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.models.base_bundle import is_bundled
from aff_toolkit.models.pretrained_trunk import require_pretrained
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.head_fitting import LAST_LAYER, fitted_layer, pooled_photographs
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.engine.training_log import TrainingLog
from aff_toolkit.training.engine.training_set import TrainingSet
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.features.store_embeddings import embed_rows, mean_embeddings
from aff_toolkit.training.recipe.training_recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.bundle_writer import BundleWriter
from aff_toolkit.training.stages.evaluate_bundle import StoredFeatures
from aff_toolkit.training.stages.gallery_side import GallerySide, prepare_gallery_side
from aff_toolkit.training.stages.held_out import TrainingPhotographs
from aff_toolkit.training.stages.joint_training import TrainedPair, train_pair
from aff_toolkit.training.stages.judgement import Judgement
from aff_toolkit.training.stages.keep_better import require_judge, write_kept
from aff_toolkit.training.stages.pretraining import Pretraining
from aff_toolkit.training.stages.query_side import start_at_anchor, start_query_encoder
from aff_toolkit.training.stages.time_estimate import estimate_time
from aff_toolkit.training.stages.training_rows import (
    TrainingRows,
    describe_groups,
    group_rows,
    labelled_rows,
    unlabelled_rows,
)
from aff_toolkit.training.stages.untrained_fusion import fit_untrained_fusion
from aff_toolkit.training.stages.work_directory import WorkDirectory
from gallery_indexer.features.mixers.anchored import AnchoredMixer

_CLASSIFYING = ("arcface", "lce")
# The main process extracts features for hours while the others wait.
_LONGEST_WAIT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """What a training has come to.

    Attributes:
        manifest: Of the bundle that was written.
        judgement: Of the trained bundle beside its base; None without a base, or where nothing could judge.
    """

    manifest: BundleManifest
    judgement: Judgement | None


@dataclass(frozen=True)
class TrainBundle:
    """Trains a pair by a recipe and writes it as a bundle.

    The networks that start from scratch are pretrained first, on their own instances: an extractor's features of its
    own training images are too clean to train a mixer on. Features and checkpoints are kept in `work_directory`, so
    that a run which was killed goes on, and a later one with the same settings takes them from there. Under
    `accelerate launch` the trainings are shared among the processes, and the main one does everything else.

    Attributes:
        recipe: What to train.
        work_directory: Features, checkpoints, intermediate weights.
        log: Shows and records what goes on.
    """

    recipe: TrainingRecipe
    work_directory: Path
    log: TrainingLog

    def run(self, output: Path, protocols: list[Protocol]) -> TrainingOutcome:
        """Train, measure by `protocols` and by what is held out, and write the bundle that is kept to `output`.

        Raises:
            AffError: What of the recipe, its photographs or its base cannot be used; why the training cannot go on.
            TrainingNotWrittenError: The disk is full or refuses.
        """
        try:
            return self._run(output, protocols)
        except (OSError, SafetensorError) as error:
            detail = f"{getattr(error, 'strerror', None) or error}. Make room and start again: what is finished is kept"
            item = getattr(error, "filename", None) or self.work_directory
            raise TrainingNotWrittenError(detail, item=str(item)) from error

    def _run(self, output: Path, protocols: list[Protocol]) -> TrainingOutcome:
        base = self.recipe.base
        if base is not None and output.resolve() == base.bundle.resolve():
            raise RecipeError("the new bundle would overwrite its base; take another directory", item=str(output))
        self.work_directory.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.recipe.seed)
        require_pretrained(self.recipe.query_encoder.pretrained)
        gallery = prepare_gallery_side(self.recipe, self._pretraining)
        mixer = gallery.make_mixer(self.recipe)
        photographs = TrainingPhotographs.of_recipe(self.recipe, min_side=self._decode_side(gallery))
        self._work.tell_left_out(photographs.single)
        self._work.tell_unreadable(photographs.unreadable, len(photographs.unreadable) + len(photographs.held_out))
        require_judge(self.recipe, photographs, protocols)
        if gallery.base is not None:
            self._work.once(lambda: self._estimate(photographs, gallery, mixer))
        store = self._store(photographs.trained_on, gallery)
        rows = self._rows(store, gallery, mixer)
        query_encoder = start_query_encoder(self.recipe, gallery.base, store, self._pretraining)
        if isinstance(mixer, AnchoredMixer) and gallery.learned_base(self.recipe) is None:
            self._start_at_anchor(gallery, store, mixer, query_encoder)
        pair = self._train(store, rows, gallery, mixer, query_encoder)
        held_out = photographs.protocol(self.recipe.seed, unreadable={store.names[row] for row in store.unreadable()})
        name, stored = output.resolve().name, StoredFeatures.of(store, photographs.trained_on)
        writer = BundleWriter(self.recipe, gallery, store, self.log, name, stored)
        measured_on = [*protocols, *([held_out] if held_out else [])]
        judgements: list[Judgement | None] = []
        trained = self.work_directory / "trained"
        self._work.once(lambda: judgements.append(write_kept(writer, pair, output, measured_on, trained)))
        self._work.accelerator.end_training()  # a process that ended with its group open may abort
        return TrainingOutcome(load_manifest(output), next(iter(judgements), None))

    def _estimate(self, photographs: TrainingPhotographs, gallery: GallerySide, mixer: nn.Module) -> None:
        device = self._work.accelerator.device
        expected = estimate_time(self.recipe, photographs, gallery.load_extract(device), mixer, device)
        if expected is not None:
            self._work.tell(expected.describe())
            self.log.expect(expected.seconds)

    def _start_at_anchor(
        self, gallery: GallerySide, store: FeatureStore, mixer: AnchoredMixer, query_encoder: QueryEncoder
    ) -> None:
        (extractor,) = (spec for spec in gallery.specs if mixer.anchor_name in {one.name for one in spec.features})
        pretrained, whitening = self.recipe.query_encoder.pretrained, self.recipe.mixer.anchor_whitening
        learned = pretrained is not None and is_bundled(pretrained)
        if not start_at_anchor(mixer, query_encoder, store, extractor, whitening, learned=learned):
            self._work.tell(f"the query encoder is not the network of {extractor.name}: it has to learn its space")

    @cached_property
    def _work(self) -> WorkDirectory:
        accelerator = Accelerator(kwargs_handlers=[InitProcessGroupKwargs(timeout=_LONGEST_WAIT)])
        return WorkDirectory(self.work_directory, self.log, accelerator)

    @cached_property
    def _pretraining(self) -> Pretraining:
        return Pretraining(self.recipe, self._work)

    def _settings(self) -> StoreSettings:
        recipe = self.recipe
        return StoreSettings(
            pixel_size=recipe.stored_size,
            seed=recipe.seed,
            copies=recipe.joint.copies,
            augmentation=recipe.joint.augmentation,
        )

    def _decode_side(self, gallery: GallerySide) -> int:
        augmented = self._settings().augmented_size if self.recipe.joint.copies > 1 else 0
        return max(gallery.input_size, self.recipe.stored_size, augmented)

    def _store(self, photographs: list[Photograph], gallery: GallerySide) -> FeatureStore:
        extract = gallery.load_extract(self._work.accelerator.device)
        return self._work.store("features", photographs, gallery.extractor_set, extract, self._settings())

    def _rows(self, store: FeatureStore, gallery: GallerySide, mixer: nn.Module) -> TrainingRows:
        section = self.recipe.joint.grouping
        if section is None:
            rows, single = labelled_rows(store, self.recipe)
            self._work.tell_left_out(single)
            return rows
        if gallery.frozen_base(self.recipe) is not None:
            return unlabelled_rows(store, np.arange(len(store)), self.recipe)
        groups = self._groups(store, gallery, mixer.eval(), section)
        self._work.tell(describe_groups(groups))
        return unlabelled_rows(store, np.asarray(groups), self.recipe)

    def _groups(
        self, store: FeatureStore, gallery: GallerySide, mixer: nn.Module, section: PseudoInstancesSection
    ) -> list[int]:
        """Group photographs by the mixer, or by the features alone where it has not learned anything yet."""
        learned = gallery.learned_base(self.recipe)
        by = learned.manifest.fingerprint if learned else "features"

        def group() -> list[int]:
            seed = self.recipe.seed
            fusion = mixer if learned else fit_untrained_fusion(store, gallery.specs, seed)
            return group_rows(store, fusion, section, seed)

        groups: list[int] = self._work.remember(
            "pseudo_instances", f"{store.key} {by} {section.model_dump_json()}", group
        )
        return groups

    def _train(
        self,
        store: FeatureStore,
        rows: TrainingRows,
        gallery: GallerySide,
        mixer: nn.Module,
        query_encoder: QueryEncoder,
    ) -> TrainedPair:
        """Train the pair, and fit the query encoder's head to the mixer in as many rounds as the recipe says."""
        fitting, head = self.recipe.joint.head_fitting, fitted_layer(query_encoder)
        photographs = TrainingSet(store, [feature.name for feature in gallery.features], instances=rows.instances)
        if fitting is None or head is None:
            return self._train_pair(store, rows, photographs, gallery, mixer, query_encoder)
        fitted = np.sort(np.random.default_rng(self.recipe.seed).permutation(photographs.rows)[: fitting.photographs])
        for number in range(1, fitting.rounds + 1):
            pair = self._train_pair(store, rows, photographs, gallery, mixer, query_encoder, number)
            if number == 1:  # the layers below have learned what they will
                pooled = self._pooled(query_encoder, store, fitted, fitting.views)
            fitting.fit(head, pooled, torch.from_numpy(embed_rows(store, fitted, mixer)), self.recipe.seed)
            if number < fitting.rounds:
                torch.manual_seed(self.recipe.seed)
                mixer = gallery.make_mixer(self.recipe)
                assert isinstance(mixer, AnchoredMixer), "the recipe has seen to it"
                mixer.set_anchor(head.weight, head.bias)
        return pair

    def _pooled(
        self, query_encoder: QueryEncoder, store: FeatureStore, rows: NDArray[np.int64], views: int
    ) -> list[Tensor]:
        """Return what the query encoder's last layer takes in for photographs, and for augmented views of them."""
        size, seed = self.recipe.query_encoder.input_size, self.recipe.seed
        augmentations = [None, *[self.recipe.joint.augmentation] * views]
        with self.log.stage(LAST_LAYER, len(rows) * len(augmentations), "images") as bar:
            return [
                pooled_photographs(query_encoder, store, rows, size, augmentation, seed + number, bar.advance)
                for number, augmentation in enumerate(augmentations)
            ]

    def _train_pair(
        self,
        store: FeatureStore,
        rows: TrainingRows,
        photographs: TrainingSet,
        gallery: GallerySide,
        mixer: nn.Module,
        query_encoder: QueryEncoder,
        number: int = 1,
    ) -> TrainedPair:
        joint = self.recipe.joint.model_dump(mode="json", exclude={"sources", "optimisation", "head_fitting"})
        checkpoints = self.work_directory / "checkpoints"
        return train_pair(
            photographs,
            mixer,
            query_encoder,
            self.recipe,
            directory=checkpoints if number == 1 else checkpoints / f"round-{number}",
            configuration={
                "base": gallery.base.manifest.fingerprint if gallery.base else None,
                "mixer": self.recipe.mixer.model_dump(mode="json"),
                "joint": joint,
                "query encoder": self.recipe.query_encoder.model_dump(mode="json"),
                "photographs": store.key,
            },
            log=self.log,
            validation=rows.validation,
            prototypes=self._prototypes(gallery, store, photographs, mixer),
        )

    def _prototypes(
        self, gallery: GallerySide, store: FeatureStore, photographs: TrainingSet, mixer: nn.Module
    ) -> Tensor | None:
        """Return where w_mix starts; None for random directions."""
        kept = self._kept_prototypes(gallery, photographs)
        if kept is not None or self.recipe.joint.prototypes == "random":
            return kept
        return mean_embeddings(store, photographs.rows, photographs.labels, mixer)

    def _kept_prototypes(self, gallery: GallerySide, photographs: TrainingSet) -> Tensor | None:
        """Return what a frozen base classifies these photographs by, where a loss asks for it."""
        base = gallery.frozen_base(self.recipe)
        if base is None or not any(loss.kind in _CLASSIFYING for loss in self.recipe.joint.losses):
            return None
        prototypes = base.prototypes_of(photographs.instances.tolist())
        if prototypes is None:
            detail = f"{base.directory} holds no prototypes of these photographs' instances; train by reg or csd"
            raise RecipeError(detail, item="joint.losses")
        return prototypes
