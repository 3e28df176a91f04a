"""The speed of joint training and of feature extraction, compared with the networks alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from accelerate.accelerator import Accelerator
from pydantic import Field
from torch import Tensor, nn

from aff_benchmarks.bench.measuring import alternate
from aff_benchmarks.bench.synthetic_gallery import jpeg_photograph
from aff_benchmarks.records import FrozenModel, StrictModel
from aff_toolkit.data.folder import unlabelled_photographs
from aff_toolkit.data.scenes import scene_photographs
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.engine.joint_model import JointModel, JointSettings, SharedClassifier
from aff_toolkit.training.engine.optimisation import OptimisationSection, TrainingPlan
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import TrainingSet, generator_of, shuffled_batches
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.stages.gallery_side import GallerySide
from gallery_indexer.features.mixers.build_mixer import build_mixer

_VIEWS = 4
_STORED_SHARE = 8 / 7


class TrainingBenchSettings(StrictModel):
    """The settings of a training benchmark; `steps` are per round.

    Attributes:
        train_size: Input side in pixels.
        batch_size: Photographs per step.
        classes: Instances of the shared classifier.
        reading_threads: Threads that read batches ahead.
    """

    backbone: str = "residual-16"
    train_size: int = Field(default=96, ge=16)
    batch_size: int = Field(default=64, ge=2)
    steps: int = Field(default=10, ge=1)
    classes: int = Field(default=1000, ge=1)
    precision: str = "fp32"
    reading_threads: int = Field(default=2, ge=1)
    rounds: int = Field(default=5, ge=1)


class TrainingBench(FrozenModel):
    """The results of a training benchmark.

    Attributes:
        step_over_bare: Speed of the whole step relative to the query network alone.
        images_per_s: Images per second of the whole step: reading features and pixels, augmentation, mixer, query
            network, losses, backward pass, optimiser.
        bare_images_per_s: Images per second of the query network's forward and backward pass on one batch in memory.
        tokens: Tokens per photograph in the mixer's input.
    """

    step_over_bare: float
    images_per_s: float
    bare_images_per_s: float
    tokens: int
    threads: int
    device: str
    settings: TrainingBenchSettings


def bench_training(bundle: Path, settings: TrainingBenchSettings) -> TrainingBench:
    """Measure joint training with the extractors and the mixer of a bundle, on procedural photographs."""
    base = BaseBundle.open(bundle)
    gallery = GallerySide(base.manifest.extractors, base.directory, base)
    with tempfile.TemporaryDirectory() as temporary:
        store = _store(gallery, settings, Path(temporary, "store"))
        step = _Step(base, gallery, store, settings)
        whole, bare = alternate(step.whole, step.bare, settings.rounds)
    images = settings.steps * settings.batch_size
    return TrainingBench(
        step_over_bare=bare / whole,
        images_per_s=images / whole,
        bare_images_per_s=images / bare,
        tokens=sum(feature.max_tokens for feature in gallery.features),
        threads=torch.get_num_threads(),
        device=Accelerator().device.type,
        settings=settings,
    )


def _store(gallery: GallerySide, settings: TrainingBenchSettings, directory: Path) -> FeatureStore:
    instances = -(-settings.steps * settings.batch_size // _VIEWS)
    photographs = scene_photographs(range(instances), range(_VIEWS), difficulty=(0.2, 0.8), seed=0)
    kept = StoreSettings(pixel_size=round(settings.train_size * _STORED_SHARE))
    extract = gallery.load_extract(Accelerator().device)
    return extract_features(photographs, gallery.extractor_set, extract, directory, kept, lambda _: None)


class _Step:
    """The two timed operations."""

    def __init__(
        self, base: BaseBundle, gallery: GallerySide, store: FeatureStore, settings: TrainingBenchSettings
    ) -> None:
        self._settings = settings
        dimension = base.manifest.space.dimension
        torch.manual_seed(0)
        self._query_encoder = QUERY_BACKBONES[settings.backbone].build(dimension)
        self._photographs = TrainingSet(store, [feature.name for feature in gallery.features])
        self._model = JointModel(
            build_mixer(gallery.features, base.manifest.mixer, dimension),
            self._query_encoder,
            SharedClassifier(max(settings.classes, self._photographs.classes), dimension, alpha=0.99),
            JointSettings(),
            stage="joint",
            train_size=settings.train_size,
        )
        side = settings.train_size
        self._device = Accelerator().device
        self._resident = torch.randint(0, 256, (settings.batch_size, side, side, 3), device=self._device).float()

    def whole(self) -> None:
        """Run one epoch of the joint training on cached features."""
        given = self._settings.model_dump(include={"batch_size", "precision", "reading_threads"})
        section = OptimisationSection.model_validate({"epochs": 1, "learning_rate": 1e-3, **given})
        batches = shuffled_batches(len(self._photographs), section.batch_size, generator_of(0, 0))
        plan = TrainingPlan(lambda _: batches[: self._settings.steps], self._photographs, section, seed=0)
        TrainingLoop(self._model, plan, Accelerator(), None).run()

    def bare(self) -> None:
        """Run as many forward and backward passes of the query network on one batch in memory."""
        network: nn.Module = self._query_encoder.to(self._device).train()
        for _ in range(self._settings.steps):
            network.zero_grad(set_to_none=True)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._settings.precision == "bf16"):
                loss: Tensor = network(self._resident).float().sum()
            loss.backward()
        loss.item()  # waits for a GPU


class FeaturesBench(FrozenModel):
    """The results of a feature extraction benchmark, in images per second.

    Attributes:
        extraction_over_bare: Speed of the extraction, from JPEG files to shards, relative to the extractors alone.
        bare_images_per_s: Images per second of the extractors on decoded photographs in memory, in the same batches.
        images: Photographs of 640 x 480 pixels.
    """

    extraction_over_bare: float
    images_per_s: float
    bare_images_per_s: float
    images: int
    threads: int
    device: str


def bench_features(bundle: Path, images: int, rounds: int) -> FeaturesBench:
    """Measure feature extraction with the extractors of a bundle, from JPEG files of procedural photographs."""
    base = BaseBundle.open(bundle)
    gallery = GallerySide(base.manifest.extractors, base.directory, base)
    device = Accelerator().device
    extract = gallery.load_extract(device)
    settings = StoreSettings()
    with tempfile.TemporaryDirectory() as temporary:
        folder, store = Path(temporary, "photographs"), Path(temporary, "store")
        folder.mkdir()
        for number in range(images):
            (folder / f"{number:05d}.jpg").write_bytes(jpeg_photograph(number))
        photographs = unlabelled_photographs(folder, min_side=gallery.input_size)
        decoded = [photograph.load() for photograph in photographs]

        def whole() -> None:
            extract_features(photographs, gallery.extractor_set, extract, store, settings, lambda _: None)
            shutil.rmtree(store)

        def bare() -> None:
            for start in range(0, len(decoded), settings.batch_size):
                extract(decoded[start : start + settings.batch_size])

        seconds, bare_seconds = alternate(whole, bare, rounds)
    return FeaturesBench(
        extraction_over_bare=bare_seconds / seconds,
        images_per_s=images / seconds,
        bare_images_per_s=images / bare_seconds,
        images=images,
        threads=torch.get_num_threads(),
        device=device.type,
    )
