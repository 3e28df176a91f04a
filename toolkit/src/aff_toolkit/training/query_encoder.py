"""The query encoder in torch, as it is trained and exported."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import MobileNetV2Config, MobileNetV2Model

from gallery_indexer.pooling import GeM

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
_STATISTICS_MOMENTUM = 0.1


class QueryEncoder(nn.Module):
    """A light backbone, GeM pooling, a linear whitening layer and L2 (Wu et al., CVPR 2023, sec. 3.1).

    Batch statistics centre and scale the whitening layer while it learns; in the deployed encoder they are constants
    of one linear map.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width_multiplier: float, dimension: int) -> None:
        super().__init__()
        config = MobileNetV2Config(depth_multiplier=width_multiplier, finegrained_output=False, tf_padding=False)
        self.backbone = MobileNetV2Model(config, add_pooling_layer=False)
        # transformers keeps TensorFlow's decay of 0.997, which torch reads as the weight of the newest batch.
        for module in self.backbone.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = _STATISTICS_MOMENTUM
        self.pool = GeM()
        channels = self.backbone.conv_1x1.convolution.out_channels
        self.whitening = nn.Sequential(nn.Linear(channels, dimension), nn.BatchNorm1d(dimension, affine=False))
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1) * 255)

    def forward(self, image: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            image: (B, H, W, 3) RGB from 0 to 255, uint8 or float32.

        Returns:
            q: (B, D) float32, unit length.
        """
        pixels = (image.permute(0, 3, 1, 2).float() - self.mean) / self.std
        activations = self.backbone(pixels).last_hidden_state
        return F.normalize(self.whitening(self.pool(activations)), dim=-1)
