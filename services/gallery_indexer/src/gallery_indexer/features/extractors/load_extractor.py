"""Builds the extractors that a bundle names; a new family is a file in this directory and a line here."""

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

_FAMILIES = (
    CompactCnnExtractor,
    CvNetExtractor,
    DelgExtractor,
    DolgExtractor,
    EfficientNetLiteExtractor,
    GemExtractor,
    HowExtractor,
    HubBackbone,
    RootSift,
    RootSiftVlad,
    TimmBackbone,
    TokenExtractor,
    XFeatExtractor,
    XFeatVlad,
)
_LOAD: dict[str, _Load] = {family.FAMILY: family.load for family in _FAMILIES}


def load_extractor(spec: ExtractorSpec, bundle_directory: Path, device: torch.device) -> Extractor:
    """Build an extractor from its specification and the bundle's weights.

    Raises:
        BundleNotFoundError: The weights are missing; the message has their origin.
        BundleFormatError: This release has no extractor of that family, or the weights do not match it.
        MissingExtraError: The extractor needs a package that is not installed; the message has the command.
    """
    if spec.family not in _LOAD:
        known = ", ".join(sorted(_LOAD))
        raise BundleFormatError(f"no extractor family {spec.family!r}; known: {known}", item=spec.name)
    try:
        return _LOAD[spec.family](spec, bundle_directory / str(spec.weights), device)
    except OSError as error:
        detail = f"cannot read {spec.weights} in {bundle_directory} ({error}); its origin: {spec.weights_source}"
        raise BundleNotFoundError(detail, item=spec.name) from error
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise BundleFormatError(f"weights and specification do not match: {error}", item=spec.name) from error
