"""A compact convolutional network that computes a global and a local feature in one pass.

Global: GeM pooling and a linear whitening layer (Radenovic et al., TPAMI 2018). Local: the strongest
mid-level activations, smoothed and whitened (HOW: Tolias et al., ECCV 2020, sec. 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_model
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.landmark_extractor import cell_positions
from gallery_indexer.features.networks.resnet import ResidualNetwork


class CompactCnn(ResidualNetwork):
    """The residual network, with local descriptors taken from its mid-level activations."""

    local_mean: Tensor
    local_whitening: Tensor

    def __init__(self, width: int, global_dimension: int, local_dimension: int) -> None:
        super().__init__(width, global_dimension)
        self.register_buffer("local_mean", torch.zeros(4 * width))
        self.register_buffer("local_whitening", torch.eye(4 * width)[:local_dimension].clone())

    def strongest_cells(self, activations: Tensor, count: int) -> Tensor:
        """Return the indices of the `count` strongest activations, by falling attention: (B, count) int64, row by row.

        Attention is the L2 norm of an activation.
        """
        cells: Tensor = activations.norm(dim=1).flatten(1).topk(count, dim=1).indices
        return cells

    def strongest_activations(self, activations: Tensor, count: int) -> Tensor:
        """Return the activations of the strongest cells, smoothed over 3 x 3 neighbours: (B, count, 4 * width)."""
        smoothed = F.avg_pool2d(activations, 3, stride=1, padding=1, count_include_pad=False)
        columns = self.strongest_cells(activations, count)[:, None].expand(-1, activations.shape[1], -1)
        return smoothed.flatten(2).gather(2, columns).transpose(1, 2)

    def local_descriptors(self, activations: Tensor, count: int) -> Tensor:
        """Return the strongest activations, centred, whitened, of unit length: (B, count, local_dimension)."""
        strongest = self.strongest_activations(activations, count)
        return F.normalize((strongest - self.local_mean) @ self.local_whitening.T, dim=-1)

    @torch.no_grad()
    def fit_local_whitening(self, descriptors: Tensor) -> None:
        """Set centre and PCA whitening of the local descriptors from a sample (n, 4 * width)."""
        self.local_mean.copy_(descriptors.mean(dim=0))
        covariance = torch.cov(descriptors.T)
        variances, directions = torch.linalg.eigh(covariance)
        kept = slice(-len(self.local_whitening), None)
        scales = variances[kept].clamp(min=1e-8).rsqrt()
        self.local_whitening.copy_((directions[:, kept] * scales).T.flip(0))


class CompactCnnExtractor:
    """The frozen network as an extractor of two features: `cnn_gem` (global) and `cnn_attention` (local)."""

    FAMILY: ClassVar[str] = "compact_cnn"

    def __init__(self, spec: ExtractorSpec, network: CompactCnn, device: torch.device) -> None:
        self.spec = spec
        self._network = network.eval().to(device)
        self._device = device
        self._global, self._local = spec.features

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> CompactCnnExtractor:
        """Build the network that the specification describes, and load its weights."""
        network = CompactCnn(spec.config["width"], *(feature.dimension for feature in spec.features))
        load_model(network, weights)
        return cls(spec, network, device)

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        pixels = np.stack([preprocess(image, self.spec.preprocessing) for image in images])
        batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2)
        activations = self._network.activations(batch)
        cells = self._network.strongest_cells(activations, self._local.max_tokens)
        descriptors = self._network.local_descriptors(activations, self._local.max_tokens)
        mask = torch.ones(descriptors.shape[:2], dtype=torch.bool, device=self._device)
        return {
            self._global.name: FeatureBatch.from_global(self._network.pool_global(activations)),
            self._local.name: FeatureBatch(descriptors, mask, cell_positions(cells, *activations.shape[2:])),
        }


def compact_cnn_spec(
    *,
    size: int,
    width: int,
    global_dimension: int,
    local_dimension: int,
    max_tokens: int,
    weights_source: str,
) -> ExtractorSpec:
    """Return the specification of a compact network for photographs stretched to `size` x `size` pixels."""
    return ExtractorSpec(
        name=CompactCnnExtractor.FAMILY,
        family=CompactCnnExtractor.FAMILY,
        preprocessing=Preprocessing(resize="stretch", size=size),
        features=(
            FeatureSpec(name="cnn_gem", kind="global", dimension=global_dimension, max_tokens=1),
            FeatureSpec(name="cnn_attention", kind="local", dimension=local_dimension, max_tokens=max_tokens),
        ),
        weights="extractors/compact_cnn.safetensors",
        weights_source=weights_source,
        config={"width": width},
    )
