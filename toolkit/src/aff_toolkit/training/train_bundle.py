"""From a recipe to a model bundle: extractor, features, joint training, export, measurement."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from aff_contracts.bundle import BundleManifest, ExtractorSpec, build_manifest, write_manifest
from aff_toolkit.evaluation.evaluate_bundle import evaluate_bundle
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.scenes.splits import EXTRACTOR_TRAINING, MIXER_TRAINING
from aff_toolkit.training.data.csv_file import csv_photographs as listed_photographs
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.scenes import scene_photographs
from aff_toolkit.training.export import export_pair, mixer_spec
from aff_toolkit.training.image_set import Extract, ImageSet, build_image_set
from aff_toolkit.training.joint_training import TrainedPair, train_pair
from aff_toolkit.training.pretraining import fit_local_whitening, pretrain
from aff_toolkit.training.progress import TrainingProgress
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import CompactCnnSection, QueryEncoderSection, ScenesSection, TrainingRecipe
from aff_toolkit.training.sampling import paired_batches
from gallery_indexer.extractors.compact_cnn import CompactCnn, compact_cnn_spec
from gallery_indexer.extractors.extractor import FeatureBatch, Images
from gallery_indexer.extractors.load_extractor import load_extractor
from gallery_indexer.extractors.rootsift import rootsift_spec

_OWN_LICENCE = "weights: Apache-2.0, trained from scratch by this project's recipe"


@dataclass(frozen=True)
class TrainBundle:
    """Trains a pair by a recipe and writes it as a bundle.

    The networks that start from scratch are pretrained first, on their own instances: an extractor's features of its
    own training images are too clean to train a mixer on. They are kept in `work_directory`, so that a later run with
    the same settings takes them from there.

    Attributes:
        recipe: What to train.
        work_directory: Logs and intermediate weights.
        progress: Shows and records what goes on.
    """

    recipe: TrainingRecipe
    work_directory: Path
    progress: TrainingProgress

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

        images = self._image_set("features", self._photographs(self.recipe.joint.scenes, half=1), extract)
        pair = self._train_pair(images, query_encoder, specs)
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
        return listed_photographs(extra.csv, ["train"])

    def _image_set(self, stage: str, photographs: list[Photograph], extract: Extract | None) -> ImageSet:
        with self.progress.stage(stage, len(photographs)) as bar:
            return build_image_set(photographs, self.recipe.stored_size, extract=extract, on_progress=bar.advance)

    def _pretrain_compact_cnn(self, spec: ExtractorSpec) -> None:
        section = self.recipe.compact_cnn
        network = CompactCnn(section.width, section.global_dimension, section.local_dimension)

        def embed(images: Tensor) -> Tensor:
            pixels = images.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
            embeddings: Tensor = network(pixels)
            return embeddings

        def finish(generator: torch.Generator) -> None:
            fit_local_whitening(network, self._pretraining_images, section.local_tokens, generator)

        self._pretrain(network, embed, section, self.work_directory / str(spec.weights), finish)

    def _pretrain_query_encoder(self) -> QueryEncoder:
        section = self.recipe.query_encoder
        encoder = QueryEncoder(section.width, self.recipe.dimension)
        path = self.work_directory / "query_encoder.safetensors"
        self._pretrain(encoder, encoder, section, path, lambda _: None)
        return encoder

    def _pretrain(
        self,
        network: nn.Module,
        embed: Callable[[Tensor], Tensor],
        section: CompactCnnSection | QueryEncoderSection,
        weights: Path,
        finish: Callable[[torch.Generator], None],
    ) -> None:
        """Bring a network to the end of its pretraining: from the work directory, or by training it."""
        recipe = self.recipe
        done = weights.with_suffix(".done.json")
        photographs = len(self._pretraining_photographs)
        extra = recipe.extra.model_dump(mode="json") if recipe.extra else None
        settings = [
            *(recipe.seed, recipe.dimension, recipe.stored_size, photographs, extra),
            *(recipe.pretraining.model_dump(), section.model_dump()),
        ]
        if done.exists() and json.loads(done.read_text(encoding="utf-8")) == settings:
            load_model(network, weights)
            return
        generator = torch.Generator().manual_seed(recipe.seed)
        batches = len(paired_batches(self._pretraining_images.labels, section.optimisation.batch_size, generator))
        with self.progress.stage(f"pretraining {weights.stem}", section.optimisation.epochs * batches) as bar:
            pretrain(
                network,
                embed,
                self._pretraining_images,
                section.optimisation,
                train_size=section.train_size,
                temperature=recipe.pretraining.temperature,
                generator=generator,
                after_step=bar.advance,
                after_epoch=bar.epoch,
            )
        finish(generator)
        weights.parent.mkdir(parents=True, exist_ok=True)
        save_model(network, str(weights))
        done.write_text(json.dumps(settings), encoding="utf-8")

    @cached_property
    def _pretraining_photographs(self) -> list[Photograph]:
        return self._photographs(self.recipe.pretraining.scenes, half=0)

    @cached_property
    def _pretraining_images(self) -> ImageSet:
        return self._image_set("photographs", self._pretraining_photographs, None)

    def _train_pair(
        self, images: ImageSet, query_encoder: QueryEncoder, specs: tuple[ExtractorSpec, ...]
    ) -> TrainedPair:
        section = self.recipe.joint.optimisation
        steps = section.epochs * (len(images.labels) // section.batch_size)
        features = tuple(feature for spec in specs for feature in spec.features)
        with self.progress.stage("joint", steps) as bar:
            return train_pair(
                images,
                query_encoder,
                features,
                mixer_spec(self.recipe),
                self.recipe,
                after_step=bar.advance,
                after_epoch=bar.epoch,
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
