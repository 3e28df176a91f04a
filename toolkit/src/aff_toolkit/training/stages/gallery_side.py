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
from aff_toolkit.models.base_bundle import PROTOTYPES_FILE, BaseBundle, write_prototypes
from aff_toolkit.models.extractors.backbone_choice import Installation
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.training.features.extract_features import Extract
from aff_toolkit.training.features.store_description import ExtractorSet
from aff_toolkit.training.recipe.training_recipe import RecipeError, TrainingRecipe
from aff_toolkit.training.stages.export import MIXER_FILE, mixer_spec
from aff_toolkit.training.stages.joint_training import TrainedPair
from aff_toolkit.training.stages.pretraining import Pretraining
from aff_toolkit.training.stages.work_directory import WorkDirectory
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.rootsift import rootsift_spec
from gallery_indexer.features.mixers.build_mixer import build_mixer


@dataclass(frozen=True, slots=True)
class GallerySide:
    """Extractors that are ready, and how to come by a mixer.

    Attributes:
        specs: The extractors.
        directory: Holds their weights.
        base: The bundle that they are taken from; None where they are new.
    """

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
        """What a feature store is bound to."""
        return ExtractorSet.of_directory(self.specs, self.directory)

    def load_extract(self, device: torch.device) -> Extract:
        """Load the extractors; return what gives all their features of a batch of photographs.

        Raises:
            BundleFormatError: Weights and specifications do not fit.
        """
        extractors = [load_extractor(spec, self.directory, device) for spec in self.specs]

        def extract(images: Images) -> dict[str, FeatureBatch]:
            return {name: batch for extractor in extractors for name, batch in extractor.extract(images).items()}

        return extract

    def frozen_base(self, recipe: TrainingRecipe) -> BaseBundle | None:
        """Return the base, where the recipe keeps its whole gallery side."""
        return self.base if recipe.base is not None and recipe.base.mixer == "frozen" else None

    def learned_base(self, recipe: TrainingRecipe) -> BaseBundle | None:
        """Return the base, where the recipe starts with its mixer."""
        return self.base if recipe.base is not None and recipe.base.mixer != "new" else None

    def make_mixer(self, recipe: TrainingRecipe) -> nn.Module:
        """Return the mixer that the recipe starts with.

        Raises:
            RecipeError: It cannot take these features, or is not the one of the base.
            BundleFormatError: The weights of the base do not fit.
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
        """Write extractors and prototypes beside the mixer that lies in `output`, or copy the whole frozen side there.

        A frozen base's prototypes are copied whatever the recipe says of them: the side stays what it was.

        Returns:
            The mixer's specification, and the path of the prototypes: None where the recipe asks for none, or a frozen
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
    """Take the extractors of the recipe's base, or make new ones in the work directory.

    Raises:
        AffError: The base cannot be read, an extractor is not available, or the pretraining cannot go on.
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
    """Install what somebody else trained, and fit what the photographs decide, once for the recipe's settings.

    Raises:
        ExtractorUnavailableError: Weights are not here, or are of another network.
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
    """Return all that decides the installed extractors, with the fingerprints of the bundles they are taken from."""
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
            "the recipe's is another; a mixer that is taken over has to be the same",
            item="mixer",
        )
