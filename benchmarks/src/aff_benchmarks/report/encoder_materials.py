"""Shared inputs of the query encoder trainings: landmarks, and their features from the gallery side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from accelerate.accelerator import Accelerator
from torch import nn

from aff_benchmarks import FrozenModel
from aff_shared.bundles.bundle import MixerSpec
from aff_toolkit.data.photograph_source import ScenesSource
from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.stages.gallery_side import GallerySide
from gallery_indexer.features.mixers.build_mixer import build_mixer

Way = Literal["aff", "fused_regression", "single_feature", "light_only"]
WAYS: tuple[Way, ...] = get_args(Way)


class EncoderTrainings(FrozenModel):
    """Settings of the trainings on procedural landmarks.

    Attributes:
        backbones: Query backbones, the most expensive first.
        seeds: Seeds of the trainings after the pretraining; every method is trained with each.
        source: Training landmarks, distinct from those of the bundle's networks.
        stored_size: Stored side of the training photographs in pixels.
        train_size: Input side in training in pixels.
        input_size: Input side in service in pixels.
        pretraining: Contrastive pretraining, once per backbone; all methods start from it.
        training: Training of each method.
        landmarks: Number of held-out landmarks.
        distractors: Views of other landmarks in the gallery.
        difficulty: Difficulty of the held-out views.
    """

    backbones: tuple[str, ...] = ("residual-32", "residual-16", "residual-8")
    seeds: tuple[int, ...] = (1,)
    source: ScenesSource = ScenesSource(first=1_500_000, instances=500, views=8)
    stored_size: int = 80
    train_size: int = 64
    input_size: int = 72
    pretraining: OptimisationSection = OptimisationSection(epochs=6, batch_size=64, learning_rate=2e-3)
    training: OptimisationSection = OptimisationSection(epochs=4, batch_size=32, learning_rate=2e-3)
    landmarks: int = 150
    distractors: int = 600
    difficulty: float = 0.5

    @property
    def protocol(self) -> Protocol:
        """Queries and gallery of the held-out landmarks."""
        return scenes_protocol(
            instances=self.landmarks,
            queries_each=2,
            gallery_each=6,
            distractors=self.distractors,
            difficulty=self.difficulty,
        )


@dataclass(frozen=True)
class EncoderMaterials:
    """Features and pixels for all trainings, in a work directory.

    Attributes:
        base: Bundle with the gallery side.
        directory: Directory of stores and checkpoints.
        trainings: Settings of the trainings.
    """

    base: BaseBundle
    directory: Path
    trainings: EncoderTrainings

    def make(self) -> None:
        """Extract the missing features.

        Raises:
            FeatureStoreError: The directory cannot be used.
        """
        side = GallerySide(self.base.manifest.extractors, self.base.directory, self.base)
        extract = side.load_extract(Accelerator().device)
        protocol, trainings = self.trainings.protocol, self.trainings
        for name, photographs, size in (
            ("training", trainings.source.photographs(), trainings.stored_size),
            ("queries", protocol.queries, trainings.input_size),
            ("gallery", protocol.gallery, trainings.input_size),
        ):
            settings = StoreSettings(pixel_size=size)
            extract_features(photographs, side.extractor_set, extract, self.directory / name, settings, lambda _: None)

    def store(self, name: str) -> FeatureStore:
        """Open the store `training`, `queries` or `gallery`.

        Raises:
            FeatureStoreError: The store is missing or altered.
        """
        return FeatureStore.open(self.directory / name)

    def gallery_side(self, way: Way) -> tuple[nn.Module, list[str]] | None:
        """Return the gallery's mixer and the names of its features; None if the bundle has no such feature.

        Raises:
            BundleFormatError: The bundle's mixer does not fit.
        """
        manifest = self.base.manifest
        if way != "single_feature":
            return self.base.load_mixer(), [feature.name for feature in manifest.features]
        for feature in manifest.features:
            if feature.kind == "global" and feature.dimension == manifest.space.dimension:
                spec = MixerSpec.model_validate({**manifest.mixer.model_dump(), "kind": "identity"})
                return build_mixer((feature,), spec, feature.dimension), [feature.name]
        return None
