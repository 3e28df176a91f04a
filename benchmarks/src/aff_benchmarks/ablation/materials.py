"""Shared inputs of an ablation's trainings: extractors, features of all photographs, the query backbone."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from safetensors.torch import save_file

from aff_benchmarks.ablation.ablation_config import (
    AblationConfig,
    BenchmarkNotFoundError,
    FrozenTrunkSection,
    NetworkSection,
    UnusableGridError,
)
from aff_benchmarks.ablation.variant import Benchmark
from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.photograph import Photograph, without_single_images
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.models.pretrained_weights import load_pretrained_trunk
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.engine.work_directory import TrainingLog, WorkDirectory
from aff_toolkit.training.features.extract_features import Extract
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.evaluate_bundle import protocols_of_recipe
from aff_toolkit.training.stages.gallery_side import install_extractors
from aff_toolkit.training.stages.pretraining import Pretraining
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.rootsift import rootsift_spec

BACKBONE = "query_backbone.safetensors"
_TRAINING, _LIGHT = "training", "light"
NOISE = "noise"


@dataclass(frozen=True, slots=True)
class Materials:
    """Feature stores with pixels, and the pretrained query backbone, in one work directory.

    Attributes:
        light: Vectors of the frozen trunk for the same photographs; None without a frozen trunk.
    """

    config: AblationConfig
    directory: Path
    training: FeatureStore
    light: FeatureStore | None
    benchmarks: tuple[Benchmark, ...]

    @classmethod
    def open(cls, config: AblationConfig, directory: Path) -> Materials:
        """Open the results of `make_materials`.

        Raises:
            BenchmarkNotFoundError: The photographs of a benchmark are missing.
            FeatureStoreError: A store is missing or altered.
        """
        light = FeatureStore.open(directory / _LIGHT) if config.frozen_trunk else None
        benchmarks = tuple(Benchmark.open(protocol, directory) for protocol in _protocols_of(config))
        return cls(config, directory, FeatureStore.open(directory / _TRAINING), light, benchmarks)

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """All features of the stores."""
        return self.training.features

    @property
    def trunk(self) -> str | None:
        """Name of the frozen trunk's feature; None without one."""
        return None if self.config.frozen_trunk is None else self.config.frozen_trunk.feature

    @property
    def keys(self) -> list[str]:
        """Keys of the stores' inputs."""
        stores = [self.training, *(store for one in self.benchmarks for store in (one.queries, one.gallery))]
        return [store.key for store in (stores if self.light is None else [*stores, self.light])]


class NoiseExtractor:
    """A useless extractor (finding 7): a random unit vector per photograph, seeded by its pixels."""

    def __init__(self, dimension: int) -> None:
        self.spec = ExtractorSpec(
            name=NOISE,
            family=NOISE,
            preprocessing=Preprocessing(resize="stretch", size=16),
            features=(FeatureSpec(name=NOISE, kind="global", dimension=dimension, max_tokens=1),),
            weights_source="none: a random vector per photograph",
        )

    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        width = self.spec.features[0].dimension
        draws = [np.random.default_rng(zlib.crc32(image.tobytes())).standard_normal(width) for image in images]
        vectors = np.stack([draw / np.linalg.norm(draw) for draw in draws])
        return {NOISE: FeatureBatch.from_global(torch.from_numpy(vectors.astype(np.float32)))}


def make_materials(config: AblationConfig, directory: Path, log: TrainingLog) -> Materials:
    """Pretrain networks and extract features; finished parts are reused.

    Raises:
        BenchmarkNotFoundError: The photographs of a benchmark are missing.
        UnusableGridError: No extractor has the feature of the frozen trunk.
        AffError: A source or the weights of an extractor cannot be used, or a training failed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    protocols = _protocols_of(config)
    work = WorkDirectory(directory, log, Accelerator())
    photographs = _photographs_of(config.recipe, work)
    specs = install_extractors(config.recipe, work)
    specs += [_train_network(name, section, config, work) for name, section in config.networks.items()]
    if config.rootsift is not None:
        specs.append(rootsift_spec(size=config.rootsift.input_size, max_tokens=config.rootsift.tokens))
    if config.frozen_trunk is None:
        _train_backbone(config, work)
    else:
        _extract_light(config, config.frozen_trunk, specs, photographs, work)
    _extract(config, specs, photographs, protocols, work)
    return Materials.open(config, directory)


def _protocols_of(config: AblationConfig) -> list[Protocol]:
    missing = [str(path) for path in config.recipe.evaluation.open_sets if not path.exists()]
    if missing:
        raise BenchmarkNotFoundError(f"photographs are missing: {', '.join(missing)}", item=config.name)
    return protocols_of_recipe(config.recipe)


def _photographs_of(recipe: TrainingRecipe, work: WorkDirectory) -> list[Photograph]:
    photographs = load_sources(recipe.joint.sources)
    if recipe.joint.single_photographs == "keep":
        return photographs
    photographs, single = without_single_images(photographs)
    work.report_left_out(single)
    return photographs


def _train_network(name: str, section: NetworkSection, config: AblationConfig, work: WorkDirectory) -> ExtractorSpec:
    cnn = section.compact_cnn
    spec = cnn.spec(f"trained from scratch, ablation {config.name}, seed {section.seed}")
    renamed = {feature: f"cnn_{name}_{feature.name.removeprefix('cnn_')}" for feature in spec.features}
    spec = spec.model_copy(
        update={
            "name": f"cnn_{name}",
            "weights": f"extractors/cnn_{name}.safetensors",
            "features": tuple(feature.model_copy(update={"name": new}) for feature, new in renamed.items()),
        }
    )
    weights = work.path / str(spec.weights)
    if not weights.exists():
        own = WorkDirectory(work.path / f"cnn_{name}", work.log, work.accelerator)
        pretraining = config.recipe.pretraining
        if pretraining is not None and section.sources is not None:
            pretraining = pretraining.model_copy(update={"sources": section.sources})
        changes = {"seed": section.seed, "compact_cnn": cnn, "pretraining": pretraining}
        recipe = config.recipe.model_copy(update=changes)
        Pretraining(recipe, own).train_compact_cnn(cnn, own.path / "trained.safetensors")
        weights.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(own.path / "trained.safetensors", weights)
    return spec


def _train_backbone(config: AblationConfig, work: WorkDirectory) -> None:
    section = config.recipe.query_encoder
    if (work.path / BACKBONE).exists():
        return
    torch.manual_seed(config.recipe.seed)
    encoder = QUERY_BACKBONES[section.backbone].build(config.recipe.dimension)
    if section.pretrained is not None:
        load_pretrained_trunk(encoder, section.pretrained, section.revision)
    if section.optimisation is not None:
        own = WorkDirectory(work.path / "query_backbone", work.log, work.accelerator)
        Pretraining(config.recipe, own).train_query_encoder(encoder, section.optimisation)
    save_file(encoder.state_dict(), work.path / BACKBONE)


def _extract_light(
    config: AblationConfig,
    section: FrozenTrunkSection,
    specs: Sequence[ExtractorSpec],
    photographs: Sequence[Photograph],
    work: WorkDirectory,
) -> None:
    given = {f.name: spec for spec in specs for f in spec.features if f.kind == "global"}
    if section.feature not in given:
        raise UnusableGridError(
            f"not a global feature of an extractor; known: {', '.join(given)}", item=section.feature
        )
    trunk = [given[section.feature]]
    settings = StoreSettings(
        copies=section.copies,
        augmented_size=section.augmented_size,
        seed=config.recipe.seed + 1,
        augmentation=config.recipe.joint.augmentation,
    )
    work.store(_LIGHT, photographs, ExtractorSet.of_directory(trunk, work.path), _extract_with(trunk, work), settings)


def _extract(
    config: AblationConfig,
    specs: Sequence[ExtractorSpec],
    photographs: Sequence[Photograph],
    protocols: Sequence[Protocol],
    work: WorkDirectory,
) -> None:
    recipe = config.recipe
    noise = NoiseExtractor(config.noise_dimension)
    extract = _extract_with(specs, work, noise)
    extractors = ExtractorSet.of_directory([*specs, noise.spec], work.path)
    learned = StoreSettings(
        pixel_size=recipe.stored_size,
        copies=recipe.joint.copies,
        seed=recipe.seed,
        augmentation=recipe.joint.augmentation,
    )
    work.store(_TRAINING, photographs, extractors, extract, learned)
    searched = StoreSettings(pixel_size=recipe.query_encoder.input_size, seed=recipe.seed)
    for protocol in protocols:
        for part, found in (("queries", protocol.queries), ("gallery", protocol.gallery)):
            work.store(f"{protocol.name}-{part}", found, extractors, extract, searched)


def _extract_with(specs: Sequence[ExtractorSpec], work: WorkDirectory, *more: NoiseExtractor) -> Extract:
    extractors = [*(load_extractor(spec, work.path, work.accelerator.device) for spec in specs), *more]

    def extract(images: Images) -> dict[str, FeatureBatch]:
        return {name: batch for extractor in extractors for name, batch in extractor.extract(images).items()}

    return extract
