"""Global descriptors of Token (Wu et al., AAAI 2022): a ResNet's activations, aggregated into visual tokens.

RGB, ImageNet normalisation; scales resize the normalised pixels bilinearly and their unit vectors are averaged.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.landmark_extractor import LandmarkExtractor, Pixels, on_device
from gallery_indexer.features.networks.layers import autocast, normalise
from gallery_indexer.features.networks.resnet import Depth, ResNet

_INPUT_SIZE = 1024
_SCALES = (1.0, 2**0.5, 0.5**0.5)
_WIDTH = 1024
_HEADS = 8
_TOKENS = 4
_REFINEMENTS = 2


class TokenNetwork(nn.Module):
    """Trunk and tokenizer."""

    def __init__(self, depth: Depth) -> None:
        super().__init__()
        self.trunk = ResNet(depth)
        self.tokenizer = _Tokenizer(self.trunk.out_channels)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe normalised (B, 3, H, W) pixels: (B, 1024) float32, unit length."""
        return F.normalize(self.tokenizer(self.trunk(pixels)).float(), dim=-1)


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.proj = (nn.Linear(_WIDTH, _WIDTH) for _ in range(4))

    def forward(self, queries: Tensor, cells: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (_HEADS, -1)).transpose(1, 2)
            for layer, x in ((self.q, queries), (self.k, cells), (self.v, cells))
        )
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return mixed


class _Encoder(nn.Module):
    """Self-attention of the cells (eq. 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = _Attention()
        self.bn = nn.BatchNorm1d(_WIDTH)
        self.mlp = nn.Linear(_WIDTH, _WIDTH)

    def forward(self, cells: Tensor) -> Tensor:
        attended = cells + self.attn(cells, cells)
        normalised = self.bn(attended.flatten(0, 1)).unflatten(0, attended.shape[:2])
        refined: Tensor = attended + self.mlp(normalised)
        return refined


class _Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(_WIDTH, 2 * _WIDTH)
        self.fc2 = nn.Linear(2 * _WIDTH, _WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        widened: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return widened


class _Decoder(nn.Module):
    """Refinement of the tokens: they attend to the cells, then to each other (eq. 7)."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = _Attention()
        self.cross_attn = _Attention()
        self.bn1 = nn.LayerNorm(_WIDTH)
        self.bn2 = nn.LayerNorm(_WIDTH)
        self.mlp = _Mlp()

    def forward(self, tokens: Tensor, cells: Tensor) -> Tensor:
        tokens = tokens + self.cross_attn(self.bn1(tokens), cells)
        tokens = tokens + self.mlp(tokens)
        normalised = self.bn2(tokens)
        refined: Tensor = tokens + self.self_attn(normalised, normalised)
        return refined


class _Tokenizer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, _TOKENS, _WIDTH))
        self.token_norm = nn.Sequential(nn.Linear(_WIDTH, _WIDTH), nn.LayerNorm(_WIDTH))
        self.encoder = nn.ModuleList([_Encoder()])
        self.decoder = nn.ModuleList([_Decoder() for _ in range(_REFINEMENTS)])
        self.conv = nn.Sequential(nn.Conv2d(inputs, _WIDTH, 1), nn.BatchNorm2d(_WIDTH))
        self.proj = nn.Sequential(nn.Linear(_WIDTH * _TOKENS, _WIDTH), nn.BatchNorm1d(_WIDTH))

    def forward(self, activations: Tensor) -> Tensor:
        cells = self.conv(activations).flatten(2).transpose(1, 2)
        for encoder in self.encoder:
            cells = encoder(cells)
        # A cell divides its attention among the tokens (eq. 4), not a token among the cells.
        attention = F.softmax(self.query @ cells.transpose(1, 2), dim=1)
        tokens = self.token_norm(attention @ cells)
        for decoder in self.decoder:
            tokens = decoder(tokens, cells)
        projected: Tensor = self.proj(tokens.flatten(1))
        return projected


class TokenExtractor(LandmarkExtractor[TokenNetwork]):
    """The frozen network as an extractor of one global feature.

    `config`: `depth`; `scales`; `precision`.
    """

    FAMILY: ClassVar[str] = "token"

    def __init__(self, spec: ExtractorSpec, network: TokenNetwork, device: torch.device) -> None:
        super().__init__(spec, network, device)
        self._scales = tuple(float(scale) for scale in spec.config["scales"])

    @classmethod
    def _build(cls, spec: ExtractorSpec) -> TokenNetwork:
        return TokenNetwork(spec.config["depth"])

    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        whole = normalise(on_device(pixels, self._device))
        with autocast(self._device, self.spec.config):
            vectors = torch.stack([self._network(_scaled(whole, scale)) for scale in self._scales])
        return {self.spec.features[0].name: FeatureBatch.from_global(F.normalize(vectors.mean(dim=0), dim=-1))}


def _scaled(pixels: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return pixels
    return F.interpolate(pixels, scale_factor=scale, mode="bilinear", align_corners=False)


def token_spec(depth: Depth, weights: str, weights_source: str) -> ExtractorSpec:
    """Return the specification of an extractor with the paper's size and scales."""
    return ExtractorSpec(
        name=f"token_r{depth}",
        family=TokenExtractor.FAMILY,
        preprocessing=Preprocessing(resize="longest_side", size=_INPUT_SIZE),
        features=(FeatureSpec(name=f"token_r{depth}", kind="global", dimension=_WIDTH, max_tokens=1),),
        weights=weights,
        weights_source=weights_source,
        config={"depth": depth, "scales": list(_SCALES)},
    )
