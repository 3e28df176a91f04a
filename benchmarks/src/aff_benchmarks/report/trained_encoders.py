"""Query encoders of different cost, trained by several methods for one gallery side, and their accuracy."""

from __future__ import annotations

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from itertools import product, repeat
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import MixerSpec
from aff_shared.resource_limits import usable_cores
from aff_toolkit.data.photograph_source import ScenesSource
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.engine.optimisation import OptimisationSection, TrainingPlan
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import TrainingSet, generator_of, paired_batches
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore, embed_rows
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.losses import DEFAULT_LOSSES, Regression
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import BaseSection, JointSection, MixerSection, QueryEncoderSection
from aff_toolkit.training.stages.gallery_side import GallerySide
from aff_toolkit.training.stages.joint_training import train_pair
from aff_toolkit.training.stages.pretraining import ContrastivePretraining
from gallery_indexer.features.mixers.build_mixer import build_mixer

Way = Literal["aff", "fused_regression", "single_feature", "light_only"]
WAYS: tuple[Way, ...] = get_args(Way)
Embeddings = NDArray[np.float32]

_TEMPERATURE = 0.1
_BATCH = 64
_REGRESSION = (Regression(weight=20.0),)


class EncoderTrainings(FrozenModel):
    """Settings of the trainings on procedural landmarks; sides in pixels.

    Attributes:
        backbones: Query backbones, the most expensive first.
        seeds: Seeds of the trainings after the pretraining; every method is trained with each.
        source: Training landmarks, distinct from those of the bundle's networks.
        pretraining: Contrastive pretraining, once per backbone; all methods start from it.
        landmarks: Number of held-out landmarks; `distractors` are views of further landmarks.
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
        counts = {"instances": self.landmarks, "queries_each": 2, "gallery_each": 6, "distractors": self.distractors}
        return scenes_protocol(**counts, difficulty=self.difficulty)


@dataclass(frozen=True)
class EncoderMaterials:
    """Features and pixels for all trainings, in a work directory; `base` has the gallery side."""

    base: BaseBundle
    directory: Path
    trainings: EncoderTrainings

    def make(self) -> None:
        """Extract the missing features."""
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
        """Open the store `training`, `queries` or `gallery`."""
        return FeatureStore.open(self.directory / name)

    def gallery_side(self, way: Way) -> tuple[nn.Module, list[str]] | None:
        """Return the gallery's mixer and the names of its features; None if the bundle has no such feature."""
        manifest = self.base.manifest
        if way != "single_feature":
            return self.base.load_mixer(), [feature.name for feature in manifest.features]
        for feature in manifest.features:
            if feature.kind == "global" and feature.dimension == manifest.space.dimension:
                spec = MixerSpec.model_validate({**manifest.mixer.model_dump(), "kind": "identity"})
                return build_mixer((feature,), spec, feature.dimension), [feature.name]
        return None


@dataclass(frozen=True, slots=True)
class EncoderScore:
    """The mAP of a training on held-out landmarks, 0 to 1; asymmetric, but `light_only` also embeds the gallery."""

    backbone: str
    way: Way
    seed: int
    map: float


def train_encoders(
    base: BaseBundle, trainings: EncoderTrainings, work: Path
) -> tuple[EncoderMaterials, list[EncoderScore]]:
    """Train every backbone by every method, in parallel with one thread each.

    Finished trainings are reused: `work` has one subdirectory per bundle and settings.

    Raises:
        AffError: The bundle cannot be used, or a training failed.
    """
    content = base.manifest.fingerprint + trainings.model_dump_json(exclude={"backbones", "seeds"})
    directory = work / hashlib.sha256(content.encode()).hexdigest()[:16]
    materials = EncoderMaterials(base, directory, trainings)
    materials.make()
    # Each process ends with its backbone, so that none survives if this process is killed.
    with ProcessPoolExecutor(
        min(usable_cores(), len(trainings.backbones)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=torch.set_num_threads,
        initargs=(1,),
        max_tasks_per_child=1,
    ) as pool:
        found = pool.map(train_backbone, repeat(materials), trainings.backbones)
        return materials, [score for scores in found for score in scores]


def gallery_references(materials: EncoderMaterials) -> dict[Way, float]:
    """Return the mAP with the gallery side on both sides, by training method."""
    found: dict[Way, float] = {}
    ways: tuple[Way, ...] = ("aff", "single_feature")
    for way in ways:
        if (side := materials.gallery_side(way)) is not None:
            mixer, _ = side
            found[way] = _map(materials, *(_embedded(materials.store(name), mixer) for name in ("queries", "gallery")))
    return found


def train_backbone(materials: EncoderMaterials, backbone: str) -> list[EncoderScore]:
    """Pretrain a backbone, train it by every method, and score it."""
    trainings, directory = materials.trainings, materials.directory / backbone
    torch.manual_seed(0)
    pretrained = QUERY_BACKBONES[backbone].build(materials.base.manifest.space.dimension)
    _contrast(materials, pretrained, trainings.pretraining, 0, directory / "pretraining")
    scores = []
    for way, seed in product(WAYS, trainings.seeds):
        encoder, place = deepcopy(pretrained), directory / f"{way}-{seed}"
        if way == "light_only":
            _contrast(materials, encoder, trainings.training, seed, place)
            gallery = _encoded(materials.store("gallery"), encoder)
        elif (side := materials.gallery_side(way)) is not None:
            recipe = _recipe(materials, backbone, way, seed)
            _follow(materials.store("training"), encoder, side, recipe, place)
            gallery = _embedded(materials.store("gallery"), side[0])
        else:
            continue
        found = _map(materials, _encoded(materials.store("queries"), encoder), gallery)
        scores.append(EncoderScore(backbone, way, seed, found))
    return scores


def _contrast(
    materials: EncoderMaterials, encoder: QueryEncoder, section: OptimisationSection, seed: int, directory: Path
) -> None:
    """Train an encoder contrastively, with two views of each landmark."""
    photographs = TrainingSet(materials.store("training"), [])

    def batches(epoch: int) -> list[Tensor]:
        return paired_batches(photographs.labels, section.batch_size, generator_of(seed, epoch))

    plan = TrainingPlan(batches, training_set=photographs, section=section, seed=seed, directory=directory)
    size = materials.trainings.train_size
    module = ContrastivePretraining(encoder, encoder.forward, train_size=size, temperature=_TEMPERATURE)
    TrainingLoop(module, plan, Accelerator(), None).run()
    encoder.cpu().eval()


def _follow(
    store: FeatureStore, encoder: QueryEncoder, side: tuple[nn.Module, list[str]], recipe: TrainingRecipe, to: Path
) -> None:
    """Train an encoder for a frozen gallery side, whose summed embeddings of the landmarks are the prototypes."""
    mixer, features = side
    photographs, log = TrainingSet(store, features), TrainingLog(to, Console(quiet=True))
    sums = torch.zeros(photographs.classes, recipe.dimension)
    sums.index_add_(0, photographs.labels, torch.from_numpy(_embedded(store, mixer)))
    train_pair(photographs, mixer, encoder, recipe, directory=to, configuration={}, log=log, prototypes=sums)


def _recipe(materials: EncoderMaterials, backbone: str, way: Way, seed: int) -> TrainingRecipe:
    trainings, manifest = materials.trainings, materials.base.manifest
    return TrainingRecipe(
        name="bench",
        seed=seed,
        dimension=manifest.space.dimension,
        stored_size=trainings.stored_size,
        base=BaseSection(bundle=materials.base.directory, mixer="frozen", query_encoder="new"),
        mixer=MixerSection.model_validate(manifest.mixer.model_dump(exclude={"weights"})),
        query_encoder=QueryEncoderSection(
            backbone=backbone, train_size=trainings.train_size, input_size=trainings.input_size
        ),
        joint=JointSection(
            sources=(TrainingSource(photographs=trainings.source),),
            losses=DEFAULT_LOSSES if way == "aff" else _REGRESSION,
            optimisation=trainings.training,
        ),
    )


def _embedded(store: FeatureStore, mixer: nn.Module) -> Embeddings:
    return embed_rows(store, np.arange(len(store)), mixer)


@torch.inference_mode()
def _encoded(store: FeatureStore, encoder: nn.Module) -> Embeddings:
    starts = np.split(np.arange(len(store)), range(_BATCH, len(store), _BATCH))
    return np.concatenate([encoder(torch.from_numpy(store.read_pixels(rows))).numpy() for rows in starts])


def _map(materials: EncoderMaterials, queries: Embeddings, gallery: Embeddings) -> float:
    names = (materials.store(name).instances for name in ("queries", "gallery"))
    return score_embeddings(queries, gallery, *names).map
