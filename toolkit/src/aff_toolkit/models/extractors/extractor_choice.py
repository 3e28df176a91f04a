"""Released extractors in a recipe, one table each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import Field, ValidationError

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.payload_filter import describe_validation_error
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.extractors.backbone_choice import WEIGHTS, BackboneChoice, Choice, Installation, TimmChoice
from aff_toolkit.models.extractors.efficientnet_lite_choice import EfficientNetLiteChoice
from aff_toolkit.models.extractors.fit_vlad import fit_rootsift_vlad
from aff_toolkit.models.extractors.xfeat_choice import XFeatChoice, XFeatVladChoice
from aff_toolkit.weights.hub_models import (
    architecture_of,
    load_vision_model,
    model_folder,
    normalisation_of,
    save_weights,
)
from gallery_indexer.features.extractors.hub_backbone import HubBackbone, HubBackboneConfig, LocalBy, feature_width
from gallery_indexer.features.extractors.rootsift_vlad import rootsift_vlad_spec
from gallery_indexer.features.extractors.vlad import VladNormalisation


class ConvertedChoice(Choice):
    """A released checkpoint after `aff checkpoints convert`.

    Attributes:
        spec: Specification that the conversion wrote, in the folder of the weights.
        size: Longest side of the photographs in pixels; None uses the specification's.
        local_tokens: Maximum number of local descriptors, limited by the specification's.
        precision: Precision of the network on a GPU.
    """

    kind: Literal["converted"]
    spec: Path
    size: int | None = Field(default=None, ge=16)
    local_tokens: int | None = Field(default=None, ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """Copy the weights into the directory of a training, and return the extractor's specification.

        Raises:
            ExtractorUnavailableError: Specification or weights are missing or cannot be read; names the command that
                creates them.
        """
        try:
            spec = ExtractorSpec.model_validate_json(self.spec.read_bytes())
            weights = place.directory / WEIGHTS.format(spec.name)
            weights.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.spec.parent / str(spec.weights), weights)
        except OSError as error:
            form = self.spec.stem.replace("_", "-")
            detail = f"{error.strerror}. Create it with: aff checkpoints convert FILE {self.spec.parent} --as {form}"
            raise ExtractorUnavailableError(detail, item=str(error.filename or self.spec)) from error
        except ValidationError as error:
            raise ExtractorUnavailableError(describe_validation_error(error), item=str(self.spec)) from error
        size = spec.preprocessing.size if self.size is None else self.size
        return spec.model_copy(
            update={
                "weights": WEIGHTS.format(spec.name),
                "preprocessing": spec.preprocessing.model_copy(update={"size": size}),
                "features": tuple(self._kept(feature) for feature in spec.features),
                "config": {**spec.config, "precision": self.precision},
            }
        )

    def _kept(self, feature: FeatureSpec) -> FeatureSpec:
        if feature.kind == "global" or self.local_tokens is None:
            return feature
        return feature.model_copy(update={"max_tokens": min(feature.max_tokens, self.local_tokens)})


class HubChoice(BackboneChoice):
    """A model of the Hugging Face hub, in the format of transformers.

    Attributes:
        local_by: Criterion of the selection of patches.
    """

    kind: Literal["hub"]
    local_by: LocalBy = "norm"

    def install(self, place: Installation) -> ExtractorSpec:
        """Write the weights into the directory of a training, and return the extractor's specification.

        Raises:
            ExtractorUnavailableError: The model is not available, or does not support the recipe's settings.
        """
        folder = model_folder(self.model, self.revision)
        model = load_vision_model(folder)
        mean, std = normalisation_of(folder)
        try:
            config = HubBackboneConfig.model_validate(
                {
                    "model": architecture_of(model),
                    "mean": mean,
                    "std": std,
                    "global_head": self.global_head,
                    "local_by": self.local_by if self.local_tokens else None,
                    "precision": self.precision,
                }
            )
            width = feature_width(config.model)
            spec = self.spec(HubBackbone.FAMILY, config.model_dump(mode="json"), width, width)
            HubBackbone(spec, model, torch.device("cpu"))
        except ValueError as error:
            raise ExtractorUnavailableError(str(error), item=self.model) from error
        save_weights(model, place.directory / self.weights)
        return spec


class RootSiftVladChoice(Choice):
    """RootSIFT tokens and VLAD over all keypoints: a gallery side without a network.

    Attributes:
        size: Longest side of the photographs in pixels.
        local_tokens: Maximum number of keypoints that are passed to the mixer; 0 disables the local feature.
        clusters: Centres of the codebook, which is fitted on the photographs of the first training stage.
        dimension: Width of the VLAD after PCA whitening; `clusters` x 128 without it.
        normalisation: See `vlad`.
        max_descriptors: Maximum number of keypoints in the VLAD.
    """

    kind: Literal["rootsift_vlad"]
    size: int = Field(ge=16)
    local_tokens: int = Field(default=0, ge=0)
    clusters: int = Field(default=64, ge=1)
    dimension: int | None = Field(default=None, ge=1)
    normalisation: VladNormalisation = "intra"
    max_descriptors: int = Field(default=1000, ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """Fit the codebook, and return the extractor's specification.

        Raises:
            TooFewPhotographsError: There are fewer keypoints than centres, or no more photographs than dimensions.
        """
        spec = rootsift_vlad_spec(
            size=self.size,
            max_tokens=self.local_tokens or None,
            clusters=self.clusters,
            dimension=self.dimension,
            normalisation=self.normalisation,
            max_descriptors=self.max_descriptors,
            weights_source=f"fitted by recipe {place.recipe}",
        )
        fit_rootsift_vlad(spec, place.photographs(), place.directory / str(spec.weights), seed=place.seed)
        return spec


ExtractorChoice = Annotated[
    ConvertedChoice
    | EfficientNetLiteChoice
    | HubChoice
    | RootSiftVladChoice
    | TimmChoice
    | XFeatChoice
    | XFeatVladChoice,
    Field(discriminator="kind"),
]
