"""From a recipe to a model bundle: extractor, features, joint training, export, measurement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.accelerator import Accelerator
from safetensors.torch import save_model
from torch import Tensor, nn

from aff_contracts.bundle import BundleManifest, ExtractorSpec, build_manifest, write_manifest
from aff_toolkit.evaluation.evaluate_bundle import evaluate_bundle
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.scenes.splits import EXTRACTOR_TRAINING, MIXER_TRAINING
from aff_toolkit.training.data.csv_file import csv_photographs
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.scenes import scene_photographs
from aff_toolkit.training.export import export_pair, mixer_spec
from aff_toolkit.training.feature_store.extract_features import Extract, extract_features
from aff_toolkit.training.feature_store.feature_store import FeatureStore
from aff_toolkit.training.feature_store.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.joint_training import TrainedPair, train_pair
from aff_toolkit.training.pretraining import ContrastivePretraining, fit_local_whitening
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import CompactCnnSection, QueryEncoderSection, ScenesSection, TrainingRecipe
from aff_toolkit.training.sampling import generator_of, paired_batches
from aff_toolkit.training.training_log import TrainingLog
from aff_toolkit.training.training_loop import TrainingLoop, TrainingPlan
from aff_toolkit.training.training_set import TrainingSet
from gallery_indexer.extractors.compact_cnn import CompactCnn, compact_cnn_spec
from gallery_indexer.extractors.extractor import FeatureBatch, Images
from gallery_indexer.extractors.load_extractor import load_extractor
from gallery_indexer.extractors.rootsift import rootsift_spec

_OWN_LICENCE = "weights: Apache-2.0, trained from scratch by this project's recipe"


@dataclass(frozen=True)
class TrainBundle:
    """Trains a pair by a recipe and writes it as a bundle.

    The networks that start from scratch are pretrained first, on their own instances: an extractor's features of its
    own training images are too clean to train a mixer on. Features and checkpoints are kept in `work_directory`, so
    that a run which was killed goes on, and a later one with the same settings takes them from there.

    Attributes:
        recipe: What to train.
        work_directory: Features, checkpoints, intermediate weights.
        log: Shows and records what goes on.
    """

    recipe: TrainingRecipe
    work_directory: Path
    log: TrainingLog

    def run(self, output: Path, protocols: list[Protocol]) -> BundleManifest:
        """Train, write the bundle to `output`, measure it by `protocols`, and return its manifest."""
        self.work_directory.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(self.recipe.seed)
        specs = self._extractor_specs()
        self._pretrain_compact_cnn(specs[0])
        query_encoder = self._pretrain_query_encoder()
        extractors = [load_extractor(spec, self.work_directory, torch.device("cpu")) for spec in specs]

        def extract(images: Images) -> dict[str, FeatureBatch]:
            return {name: batch for extractor in extractors for name, batch in extractor.extract(images).items()}

        extractors_set = ExtractorSet.of_directory(specs, self.work_directory)
        store = self._store("features", self._photographs(self.recipe.joint.scenes, half=1), extractors_set, extract)
        pair = self._train_pair(store, query_encoder, specs)
        return self._write(pair, specs, output, protocols)

    def _extractor_specs(self) -> tuple[ExtractorSpec, ...]:
        cnn, sift = self.recipe.compact_cnn, self.recipe.rootsift
        return (
            compact_cnn_spec(
                size=cnn.input_size,
                width=cnn.width,
                global_dimension=cnn.global_dimension,
                local_dimension=cnn.local_dimension,
                max_tokens=cnn.local_tokens,
                weights_source=f"trained from scratch, recipe {self.recipe.name}",
            ),
            rootsift_spec(size=sift.input_size, max_tokens=sift.tokens),
        )

    def _photographs(self, scenes: ScenesSection, *, half: int) -> list[Photograph]:
        """Return the scenes of a split, and every second instance of the extra photographs, from `half` on."""
        first = (EXTRACTOR_TRAINING, MIXER_TRAINING)[half]
        bounds = (scenes.min_difficulty, scenes.max_difficulty)
        photographs = scene_photographs(
            range(first, first + scenes.instances),
            range(scenes.views),
            difficulty=bounds,
            seed=self.recipe.seed,
        )
        extra = self._extra()
        names = sorted({photograph.instance for photograph in extra})[half::2]
        return photographs + [photograph for photograph in extra if photograph.instance in names]

    def _extra(self) -> list[Photograph]:
        extra = self.recipe.extra
        if extra is None or not extra.csv.exists():
            return []
        return csv_photographs(extra.csv, ["train"])

    def _store(
        self, name: str, photographs: list[Photograph], extractors: ExtractorSet, extract: Extract
    ) -> FeatureStore:
        settings = StoreSettings(pixel_size=self.recipe.stored_size, seed=self.recipe.seed)
        directory = self.work_directory / name
        with self.log.stage(name, len(photographs), "images") as bar:
            return extract_features(photographs, extractors, extract, directory, settings, bar.advance)

    def _pretrain_compact_cnn(self, spec: ExtractorSpec) -> None:
        section = self.recipe.compact_cnn
        network = CompactCnn(section.width, section.global_dimension, section.local_dimension)

        def embed(images: Tensor) -> Tensor:
            pixels = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            embeddings: Tensor = network(pixels)
            return embeddings

        self._pretrain("compact_cnn", network, embed, section)
        fit_local_whitening(network, self._pretraining_store, section.local_tokens, self.recipe.seed)
        weights = self.work_directory / str(spec.weights)
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_model(network, str(weights))

    def _pretrain_query_encoder(self) -> QueryEncoder:
        section = self.recipe.query_encoder
        encoder = QueryEncoder(section.width, self.recipe.dimension)
        self._pretrain("query_encoder", encoder, encoder.forward, section)
        return encoder

    def _pretrain(
        self,
        name: str,
        network: nn.Module,
        embed: Callable[[Tensor], Tensor],
        section: CompactCnnSection | QueryEncoderSection,
    ) -> None:
        """Bring a network to the end of its pretraining: from its checkpoint, or by training it."""
        seed, batch_size = self.recipe.seed, section.optimisation.batch_size
        temperature = self.recipe.pretraining.temperature
        photographs = TrainingSet(self._pretraining_store, [])
        plan = TrainingPlan(
            batches_of_epoch=lambda epoch: paired_batches(photographs.labels, batch_size, generator_of(seed, epoch)),
            training_set=photographs,
            section=section.optimisation,
            seed=seed,
            directory=self.work_directory / "checkpoints" / name,
            configuration={
                "network": section.model_dump(mode="json", exclude={"optimisation"}),
                "temperature": temperature,
                "photographs": self._pretraining_store.key,
            },
        )
        module = ContrastivePretraining(network, embed, train_size=section.train_size, temperature=temperature)
        with self.log.stage(f"pretraining_{name}", None, "images") as stage:
            TrainingLoop(module, plan, Accelerator(), stage).run()
        network.cpu().eval()

    @cached_property
    def _pretraining_store(self) -> FeatureStore:
        photographs = self._photographs(self.recipe.pretraining.scenes, half=0)
        return self._store("pretraining", photographs, ExtractorSet(), lambda _: {})

    def _train_pair(
        self, store: FeatureStore, query_encoder: QueryEncoder, specs: tuple[ExtractorSpec, ...]
    ) -> TrainedPair:
        features = tuple(feature for spec in specs for feature in spec.features)
        return train_pair(
            TrainingSet(store, [feature.name for feature in features]),
            query_encoder,
            features,
            mixer_spec(self.recipe),
            self.recipe,
            directory=self.work_directory / "checkpoints",
            configuration={
                "mixer": self.recipe.mixer.model_dump(mode="json"),
                "joint": self.recipe.joint.model_dump(mode="json", exclude={"scenes", "optimisation"}),
                "query encoder": self.recipe.query_encoder.model_dump(mode="json"),
                "photographs": store.key,
            },
            log=self.log,
        )

    def _write(
        self, pair: TrainedPair, specs: tuple[ExtractorSpec, ...], output: Path, protocols: list[Protocol]
    ) -> BundleManifest:
        query_encoder = export_pair(pair, self.recipe, output)
        for spec in specs:
            if spec.weights:
                (output / spec.weights).parent.mkdir(parents=True, exist_ok=True)
                (output / spec.weights).write_bytes((self.work_directory / spec.weights).read_bytes())

        def describe(metrics: dict[str, Any]) -> BundleManifest:
            return build_manifest(
                output,
                name=self.recipe.name,
                dimension=self.recipe.dimension,
                query_encoder=query_encoder,
                mixer=mixer_spec(self.recipe),
                extractors=specs,
                recipe=self.recipe.model_dump(mode="json"),
                metrics=metrics,
                licences=self._licences(),
            )

        unmeasured = describe({})
        metrics = {
            protocol.name: {
                "protocol": protocol.description,
                "scores": evaluate_bundle(output, unmeasured, protocol),
            }
            for protocol in protocols
        }
        manifest = describe(metrics)
        write_manifest(output, manifest)
        return manifest

    def _licences(self) -> tuple[str, ...]:
        extra = self.recipe.extra
        if extra is None or not extra.csv.exists():
            return (_OWN_LICENCE,)
        return (_OWN_LICENCE, f"training photographs: {extra.licence}")
