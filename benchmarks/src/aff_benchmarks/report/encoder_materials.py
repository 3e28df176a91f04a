"""What trainings of query encoders of different cost share: landmarks, and the gallery side's features of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from accelerate.accelerator import Accelerator
from pydantic import BaseModel, ConfigDict
from torch import nn

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


class EncoderTrainings(BaseModel):
    """What is trained, on which procedural landmarks, and how long.

    Attributes:
        backbones: Query backbones, the dearest to train first.
        seeds: Of the trainings after the pretraining, one of every way for each.
        source: Landmarks to learn from, which the bundle's networks have not learned from.
        stored_size: Pixels of a side that are kept of the photographs to learn from.
        train_size: Pixels of a side in training.
        input_size: Pixels of a side in service.
        pretraining: Contrastive, once for each backbone; every way starts from it.
        training: Of every way.
        landmarks: Held-out ones.
        distractors: Views of other landmarks in the gallery.
        difficulty: Of the held-out views.
    """

    model_config = ConfigDict(frozen=True)

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
        """Queries and gallery."""
        return scenes_protocol(
            instances=self.landmarks,
            queries_each=2,
            gallery_each=6,
            distractors=self.distractors,
            difficulty=self.difficulty,
        )


@dataclass(frozen=True)
class EncoderMaterials:
    """What all trainings share: features and pixels, in a work directory.

    Attributes:
        base: The bundle whose gallery side is kept.
        directory: Of stores and checkpoints.
        trainings: What is trained.
    """

    base: BaseBundle
    directory: Path
    trainings: EncoderTrainings

    def make(self) -> None:
        """Extract what is not there yet.

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
        """Open a store: `training`, `queries` or `gallery`.

        Raises:
            FeatureStoreError: It is missing or altered.
        """
        return FeatureStore.open(self.directory / name)

    def gallery_side(self, way: Way) -> tuple[nn.Module, list[str]] | None:
        """Return what the gallery is embedded with, and its features; None where the bundle has no such feature.

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
