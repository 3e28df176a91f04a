"""What every training of an ablation shares: extractors, their features of all photographs, the query backbone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate.accelerator import Accelerator
from safetensors.torch import load_file, save_file

from aff_contracts.bundle import ExtractorSpec, FeatureSpec
from aff_toolkit.ablation.ablation_config import AblationConfig, NetworkSection
from aff_toolkit.ablation.ablation_errors import BenchmarkNotFoundError
from aff_toolkit.ablation.noise_extractor import NoiseExtractor
from aff_toolkit.evaluation.evaluation_errors import BenchmarkError
from aff_toolkit.evaluation.protocols import Protocol, protocols_of_recipe
from aff_toolkit.training.data.instances import without_single_images
from aff_toolkit.training.feature_store.extract_features import Extract
from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.feature_store.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.pretraining import Pretraining
from aff_toolkit.training.query_backbones import QUERY_BACKBONES
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.training_log import TrainingLog
from aff_toolkit.training.training_source import load_sources
from aff_toolkit.training.work_directory import WorkDirectory
from gallery_indexer.extractors.extractor import FeatureBatch, Images
from gallery_indexer.extractors.load_extractor import load_extractor
from gallery_indexer.extractors.rootsift import rootsift_spec

_BACKBONE = "query_backbone.safetensors"
_HEAD = "network.whitening."


@dataclass(frozen=True, slots=True)
class Materials:
    """Feature stores with pixels, and the pretrained query backbone, in one work directory.

    Attributes:
        config: What they were made by.
        directory: Where they lie.
        training: Photographs that every variant learns from.
        queries: The benchmark's queries.
        gallery: Its gallery, distractors included.
    """

    config: AblationConfig
    directory: Path
    training: FeatureStore
    queries: FeatureStore
    gallery: FeatureStore

    @classmethod
    def open(cls, config: AblationConfig, directory: Path) -> Materials:
        """Open what `make_materials` has made.

        Raises:
            FeatureStoreError: A store is missing or altered.
        """
        stores = (FeatureStore.open(directory / name) for name in ("training", "queries", "gallery"))
        return cls(config, directory, *stores)

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """Every feature of the stores."""
        return self.training.features

    def new_query_encoder(self, seed: int) -> QueryEncoder:
        """Return the query encoder with the pretrained backbone and a fresh whitening layer."""
        torch.manual_seed(seed)
        encoder = QUERY_BACKBONES[self.config.recipe.query_encoder.backbone].build(self.config.recipe.dimension)
        trunk = {k: v for k, v in load_file(self.directory / _BACKBONE).items() if not k.startswith(_HEAD)}
        encoder.load_state_dict(trunk, strict=False)
        return encoder


def make_materials(config: AblationConfig, directory: Path, log: TrainingLog) -> tuple[Materials, str]:
    """Pretrain what starts from scratch and extract all features; what is finished already is taken up.

    Returns:
        The materials, and the description of the benchmark's protocol.

    Raises:
        BenchmarkNotFoundError: The benchmark's photographs are not here.
        BenchmarkError: The benchmark lists positives or junk.
        AffError: A source cannot be used, or a training cannot go on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    protocol = _protocol_of(config)
    work = WorkDirectory(directory, log, Accelerator())
    specs = [_train_network(name, section, config, work) for name, section in config.networks.items()]
    if config.rootsift is not None:
        specs.append(rootsift_spec(size=config.rootsift.input_size, max_tokens=config.rootsift.tokens))
    _train_backbone(config, work)
    _extract(config, specs, protocol, work)
    return Materials.open(config, directory), protocol.description


def _protocol_of(config: AblationConfig) -> Protocol:
    protocols = protocols_of_recipe(config.recipe)
    if not protocols:
        missing = ", ".join(str(path) for path in config.recipe.evaluation.open_sets)
        raise BenchmarkNotFoundError(f"its photographs are not here: {missing}", item=config.name)
    if protocols[0].listed is not None:
        detail = "lists positives or junk; an ablation takes files in which equal instances are all that counts"
        raise BenchmarkError(detail, item=config.name)
    return protocols[0]


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
    if (work.path / _BACKBONE).exists():
        return
    torch.manual_seed(config.recipe.seed)
    encoder = QUERY_BACKBONES[section.backbone].build(config.recipe.dimension)
    if section.optimisation is not None:
        own = WorkDirectory(work.path / "query_backbone", work.log, work.accelerator)
        Pretraining(config.recipe, own).train_query_encoder(encoder, section.optimisation)
    save_file(encoder.state_dict(), work.path / _BACKBONE)


def _extract(config: AblationConfig, specs: Sequence[ExtractorSpec], protocol: Protocol, work: WorkDirectory) -> None:
    recipe = config.recipe
    noise = NoiseExtractor(config.noise_dimension)
    extract = _extract_with(specs, noise, work)
    extractors = ExtractorSet.of_directory([*specs, noise.spec], work.path)
    training, single = without_single_images(load_sources(recipe.joint.sources))
    work.tell_left_out(single)
    learned = StoreSettings(pixel_size=recipe.stored_size, copies=recipe.joint.copies, seed=recipe.seed)
    work.store("training", training, extractors, extract, learned)
    for name, photographs in (("queries", protocol.queries), ("gallery", protocol.gallery)):
        searched = StoreSettings(pixel_size=recipe.query_encoder.input_size, seed=recipe.seed)
        work.store(name, photographs, extractors, extract, searched)


def _extract_with(specs: Sequence[ExtractorSpec], noise: NoiseExtractor, work: WorkDirectory) -> Extract:
    extractors = [*(load_extractor(spec, work.path, work.accelerator.device) for spec in specs), noise]

    def extract(images: Images) -> dict[str, FeatureBatch]:
        return {name: batch for extractor in extractors for name, batch in extractor.extract(images).items()}

    return extract
