"""The gallery side of a training: its frozen extractors, new or of a finished bundle, and the mixer on top."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec, MixerSpec
from aff_toolkit.data.training_source import load_sources
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.base_bundle import PROTOTYPES_FILE, BaseBundle, write_prototypes
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.training.engine.work_directory import WorkDirectory
from aff_toolkit.training.features.extract_features import Extract
from aff_toolkit.training.features.store_description import ExtractorSet
from aff_toolkit.training.recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.export import MIXER_FILE, TrainedPair, mixer_spec
from aff_toolkit.training.stages.pretraining import Pretraining
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.rootsift import rootsift_spec
from gallery_indexer.features.mixers.build_mixer import build_mixer


@dataclass(frozen=True, slots=True)
class GallerySide:
    """Installed extractors with the directory of their weights, and the bundle that they are taken from, if any."""

    specs: tuple[ExtractorSpec, ...]
    directory: Path
    base: BaseBundle | None

    @property
    def features(self) -> tuple[FeatureSpec, ...]:
        """Every feature, in the mixer's order."""
        return tuple(feature for spec in self.specs for feature in spec.features)

    @property
    def input_size(self) -> int:
        """Side in pixels of the largest extractor's input."""
        return max(spec.preprocessing.size for spec in self.specs)

    @property
    def extractor_set(self) -> ExtractorSet:
        """The extractors with the hashes of their weights, for the key of a feature store."""
        return ExtractorSet.of_directory(self.specs, self.directory)

    def load_extract(self, device: torch.device) -> Extract:
        """Load the extractors; return a function that computes all features of a batch of photographs.

        Raises:
            BundleFormatError: Weights and specifications do not match.
        """
        extractors = [load_extractor(spec, self.directory, device) for spec in self.specs]

        def extract(images: Images) -> dict[str, FeatureBatch]:
            return {name: batch for extractor in extractors for name, batch in extractor.extract(images).items()}

        return extract

    def frozen_base(self, recipe: TrainingRecipe) -> BaseBundle | None:
        """Return the base if the recipe keeps its whole gallery side."""
        return self.base if recipe.base is not None and recipe.base.mixer == "frozen" else None

    def learned_base(self, recipe: TrainingRecipe) -> BaseBundle | None:
        """Return the base if the recipe starts with its mixer."""
        return self.base if recipe.base is not None and recipe.base.mixer != "new" else None

    def make_mixer(self, recipe: TrainingRecipe) -> nn.Module:
        """Return the initial mixer of the recipe.

        Raises:
            RecipeError: The mixer cannot process these features, or differs from the base's.
            BundleFormatError: The weights of the base do not match.
        """
        base = self.learned_base(recipe)
        if base is None:
            try:
                return build_mixer(self.features, mixer_spec(recipe), recipe.dimension)
            except ValueError as error:
                raise RecipeError(f"this mixer cannot be built: {error}", item="mixer") from error
        _require_mixer_of(base, recipe)
        return base.load_mixer()

    def write(self, pair: TrainedPair, recipe: TrainingRecipe, output: Path) -> tuple[MixerSpec, str | None]:
        """Write extractors and prototypes to `output`, which contains the mixer, or copy the whole frozen side there.

        The prototypes of a frozen base are always copied, so that its gallery side does not change.

        Returns:
            The mixer's specification, and the path of the prototypes; None if the recipe disables them, or if a frozen
            base has none.
        """
        base = self.frozen_base(recipe)
        if base is not None:
            (output / MIXER_FILE).unlink(missing_ok=True)
            base.copy_gallery_side(output)
            return base.manifest.mixer, base.manifest.prototypes
        for weights in (spec.weights for spec in self.specs if spec.weights):
            (output / weights).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.directory / weights, output / weights)
        if not recipe.export.prototypes:
            (output / PROTOTYPES_FILE).unlink(missing_ok=True)
            return mixer_spec(recipe), None
        write_prototypes(output / PROTOTYPES_FILE, pair.prototypes, pair.instances)
        return mixer_spec(recipe), PROTOTYPES_FILE


def prepare_gallery_side(recipe: TrainingRecipe, pretraining: Pretraining) -> GallerySide:
    """Use the extractors of the recipe's base, or create new ones in the work directory.

    Raises:
        AffError: The base cannot be read, an extractor is not available, or the pretraining fails.
    """
    if recipe.base is not None:
        base = BaseBundle.open(recipe.base.bundle)
        return GallerySide(base.manifest.extractors, base.directory, base)
    directory = pretraining.work.path
    specs = install_extractors(recipe, pretraining.work)
    if recipe.compact_cnn is not None:
        spec = recipe.compact_cnn.spec(f"trained from scratch, recipe {recipe.name}")
        pretraining.train_compact_cnn(recipe.compact_cnn, directory / str(spec.weights))
        specs.append(spec)
    if recipe.rootsift is not None:
        specs.append(rootsift_spec(size=recipe.rootsift.input_size, max_tokens=recipe.rootsift.tokens))
    return GallerySide(tuple(specs), directory, None)


def install_extractors(recipe: TrainingRecipe, work: WorkDirectory) -> list[ExtractorSpec]:
    """Install released extractors, and fit them on the photographs if needed, once per settings of the recipe.

    Raises:
        ExtractorUnavailableError: Weights are not available, or are of another network.
        AffError: A source of the photographs cannot be used.
    """
    sources = recipe.pretraining.sources if recipe.pretraining else recipe.joint.sources
    place = Installation(work.path, recipe.name, recipe.seed, lambda: load_sources(sources))
    installed = work.remember(
        "extractors",
        hashlib.sha256(_settings_of_extractors(recipe).encode()).hexdigest(),
        lambda: [choice.install(place).model_dump(mode="json") for choice in recipe.extractors],
    )
    return [ExtractorSpec.model_validate(spec) for spec in installed]


def _settings_of_extractors(recipe: TrainingRecipe) -> str:
    """Return all settings of the installed extractors, with the fingerprints of the bundles they are taken from."""
    named: dict[str, Any] = {"extractors": True, "pretraining": True, "joint": {"sources"}, "seed": True, "name": True}
    models = [str(getattr(choice, "model", "")) for choice in recipe.extractors]
    bundles = [bundle for model in models if (bundle := PretrainedWeights(model).bundle) is not None]
    return " ".join([recipe.model_dump_json(include=named), *(bundle.manifest.fingerprint for bundle in bundles)])


def _require_mixer_of(base: BaseBundle, recipe: TrainingRecipe) -> None:
    wanted = (mixer_spec(recipe), recipe.dimension)
    spec: MixerSpec = base.manifest.mixer.model_copy(update={"weights": wanted[0].weights})
    found = (spec, base.manifest.space.dimension)
    if wanted != found:
        raise RecipeError(
            f"the mixer of {base.directory} is {spec.model_dump_json(exclude={'weights'})} of dimension {found[1]}, "
            "the recipe's differs; they have to be equal",
            item="mixer",
        )
