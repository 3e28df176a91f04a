"""Builds the extractors that a bundle names; a new family is one file in this directory and one line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import BundleFormatError, BundleNotFoundError
from gallery_indexer.features.extractors.compact_cnn import CompactCnnExtractor
from gallery_indexer.features.extractors.cvnet import CvNetExtractor
from gallery_indexer.features.extractors.delg import DelgExtractor, DolgExtractor
from gallery_indexer.features.extractors.efficientnet_lite import EfficientNetLiteExtractor
from gallery_indexer.features.extractors.extractor import Extractor
from gallery_indexer.features.extractors.gem import GemExtractor
from gallery_indexer.features.extractors.how import HowExtractor
from gallery_indexer.features.extractors.hub_backbone import HubBackbone
from gallery_indexer.features.extractors.rootsift import RootSift, RootSiftVlad
from gallery_indexer.features.extractors.timm_backbone import TimmBackbone
from gallery_indexer.features.extractors.token_aggregation import TokenExtractor
from gallery_indexer.features.extractors.xfeat import XFeatExtractor, XFeatVlad

_Load = Callable[[ExtractorSpec, Path, torch.device], Extractor]

_WITH_WEIGHTS = (
    CompactCnnExtractor,
    CvNetExtractor,
    DelgExtractor,
    DolgExtractor,
    EfficientNetLiteExtractor,
    GemExtractor,
    HowExtractor,
    HubBackbone,
    RootSiftVlad,
    TimmBackbone,
    TokenExtractor,
    XFeatExtractor,
    XFeatVlad,
)


def _loading(load: _Load) -> _Load:
    return lambda spec, directory, device: load(spec, directory / str(spec.weights), device)


_FAMILIES: dict[str, _Load] = {
    RootSift.FAMILY: lambda spec, _directory, _device: RootSift(spec),
    **{family.FAMILY: _loading(family.load) for family in _WITH_WEIGHTS},
}


def load_extractor(spec: ExtractorSpec, bundle_directory: Path, device: torch.device) -> Extractor:
    """Build an extractor from its specification and the bundle's weights.

    Raises:
        BundleNotFoundError: The weights are missing; the message has their origin.
        BundleFormatError: This release has no extractor of that family, or the weights do not match it.
        MissingExtraError: The extractor needs a package that is not installed; the message has the command.
    """
    if spec.family not in _FAMILIES:
        known = ", ".join(sorted(_FAMILIES))
        raise BundleFormatError(f"no extractor family {spec.family!r}; known: {known}", item=spec.name)
    try:
        return _FAMILIES[spec.family](spec, bundle_directory, device)
    except OSError as error:
        detail = f"cannot read {spec.weights} in {bundle_directory} ({error}); its origin: {spec.weights_source}"
        raise BundleNotFoundError(detail, item=spec.name) from error
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BundleFormatError(f"weights and specification do not match: {error}", item=spec.name) from error
