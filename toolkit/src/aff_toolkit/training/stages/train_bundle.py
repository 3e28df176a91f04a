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
from safetensors import SafetensorError
from torch import nn

from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TrainingNotWrittenError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection, fit_untrained_fusion
from aff_toolkit.training.engine.work_directory import TrainingLog, WorkDirectory
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.bundle_writer import BundleWriter, write_kept
from aff_toolkit.training.stages.evaluate_bundle import StoredFeatures
from aff_toolkit.training.stages.export import TrainedPair
from aff_toolkit.training.stages.gallery_side import GallerySide, prepare_gallery_side
from aff_toolkit.training.stages.held_out import TrainingPhotographs
from aff_toolkit.training.stages.joint_training import PairTraining
from aff_toolkit.training.stages.judgement import Judgement, require_judge
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
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer

# The main process extracts features for hours while the others wait.
_LONGEST_WAIT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """Manifest of the written bundle, and its judgement against its base; None if no protocol judges it."""

    manifest: BundleManifest
    judgement: Judgement | None


@dataclass(frozen=True)
class TrainBundle:
    """Trains a pair by a recipe and writes it as a bundle.

    Networks that start from scratch are pretrained first, on other instances: an extractor's features of its training
    images are too clean to train a mixer on. Features and checkpoints are kept in `work_directory`, so that a killed
    run resumes, and later runs with the same settings reuse them. Under `accelerate launch` all processes share the
    trainings, and the main process does everything else.
    """

    recipe: TrainingRecipe
    work_directory: Path
    log: TrainingLog

    def run(self, output: Path, protocols: list[Protocol]) -> TrainingOutcome:
        """Train, measure by `protocols` and on held-out photographs, and write the kept bundle to `output`.

        Raises:
            AffError: The recipe, its photographs or its base cannot be used, or the training fails.
            TrainingNotWrittenError: The disk is full or not writable.
        """
        try:
            return self._run(output, protocols)
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or error
            detail = f"{reason}. Free some space and run it again: finished parts are kept"
            item = getattr(error, "filename", None) or self.work_directory
            raise TrainingNotWrittenError(detail, item=str(item)) from error

    def _run(self, output: Path, protocols: list[Protocol]) -> TrainingOutcome:
        base = self.recipe.base
        if base is not None and output.resolve() == base.bundle.resolve():
            raise RecipeError("the new bundle would overwrite its base; use another directory", item=str(output))
        self.work_directory.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.recipe.seed)
        if self._pretrained is not None:
            self._pretrained.require()
        gallery = prepare_gallery_side(self.recipe, self._pretraining)
        mixer = gallery.make_mixer(self.recipe)
        photographs = self._photographs(gallery)
        require_judge(self.recipe, photographs, protocols)
        if gallery.base is not None:
            self._work.once(lambda: self._estimate(photographs, gallery, mixer))
        store = self._store(photographs.trained_on, gallery)
        pair = self._train(gallery, store, mixer)
        held_out = photographs.protocol(self.recipe.seed, unreadable={store.names[row] for row in store.unreadable()})
        stored = StoredFeatures.of(store, photographs.trained_on)
        writer = BundleWriter(self.recipe, gallery, store, self.log, output.resolve().name, stored)
        return self._write(writer, pair, output, [*protocols, *([held_out] if held_out else [])])

    def _photographs(self, gallery: GallerySide) -> TrainingPhotographs:
        photographs = TrainingPhotographs.of_recipe(self.recipe, min_side=self._decode_side(gallery))
        self._work.report_left_out(photographs.single)
        self._work.report_unreadable(photographs.unreadable, len(photographs.unreadable) + len(photographs.held_out))
        return photographs

    def _train(self, gallery: GallerySide, store: FeatureStore, mixer: nn.Module) -> TrainedPair:
        rows = self._rows(store, gallery, mixer)
        query_encoder = start_query_encoder(self.recipe, gallery.base, store, self._pretraining)
        if isinstance(mixer, AnchoredMixer) and gallery.learned_base(self.recipe) is None:
            self._start_at_anchor(gallery, store, mixer, query_encoder)
        return PairTraining(self.recipe, self._work, gallery, store, rows).run(mixer, query_encoder)

    def _write(
        self, writer: BundleWriter, pair: TrainedPair, output: Path, protocols: list[Protocol]
    ) -> TrainingOutcome:
        judgements: list[Judgement | None] = []
        trained = self.work_directory / "trained"
        self._work.once(lambda: judgements.append(write_kept(writer, pair, output, protocols, trained)))
        self._work.accelerator.end_training()  # a process that ends with an open process group may abort
        return TrainingOutcome(load_manifest(output), next(iter(judgements), None))

    def _estimate(self, photographs: TrainingPhotographs, gallery: GallerySide, mixer: nn.Module) -> None:
        device = self._work.accelerator.device
        expected = estimate_time(self.recipe, photographs, gallery.load_extract(device), mixer, device)
        if expected is not None:
            self._work.report(expected.describe())
            self.log.expect(expected.seconds)

    def _start_at_anchor(
        self, gallery: GallerySide, store: FeatureStore, mixer: AnchoredMixer, query_encoder: QueryEncoder
    ) -> None:
        (extractor,) = (spec for spec in gallery.specs if mixer.anchor_name in {one.name for one in spec.features})
        whitening = self.recipe.mixer.anchor_whitening
        trained_head = self._pretrained is not None and self._pretrained.includes_head
        if not start_at_anchor(mixer, query_encoder, store, extractor, whitening, learned=trained_head):
            self._work.report(f"the query encoder is not the network of {extractor.name}: it is trained for its space")

    @cached_property
    def _pretrained(self) -> PretrainedWeights | None:
        section = self.recipe.query_encoder
        return None if section.pretrained is None else PretrainedWeights(section.pretrained, section.revision)

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
            self._work.report_left_out(single)
            return rows
        if gallery.frozen_base(self.recipe) is not None:
            return unlabelled_rows(store, np.arange(len(store)), self.recipe)
        groups = self._groups(store, gallery, mixer.eval(), section)
        self._work.report(describe_groups(groups))
        return unlabelled_rows(store, np.asarray(groups), self.recipe)

    def _groups(
        self, store: FeatureStore, gallery: GallerySide, mixer: nn.Module, section: PseudoInstancesSection
    ) -> list[int]:
        """Group photographs by the mixer, or by the features alone if the mixer is untrained."""
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
