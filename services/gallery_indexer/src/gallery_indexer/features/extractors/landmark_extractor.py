"""What the released landmark networks have in common as extractors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

import torch
from torch import nn

from aff_shared.bundles.bundle import ExtractorSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.shape_batches import Pixels, extract_by_shape
from gallery_indexer.features.networks.frozen import frozen

_Network = TypeVar("_Network", bound=nn.Module)


class LandmarkExtractor(ABC, Generic[_Network]):
    """A frozen convolutional network that takes photographs of any shape, those of one shape at a time.

    Args:
        spec: What it gives, and how photographs are brought to its input size.
        network: With its weights.
        device: That it runs on.
    """

    def __init__(self, spec: ExtractorSpec, network: _Network, device: torch.device) -> None:
        self.spec = spec
        self._network = frozen(network, device, spec.config)
        self._device = device

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        return extract_by_shape(images, self.spec.preprocessing, self._features)

    @abstractmethod
    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        """Return the features of (B, h, w, 3) uint8 RGB pixels at the input size, by their names."""
