"""MobileNetV3 and MobileNetV4 through timm: an optional extra, imported only where one of them is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gallery_indexer.features.networks.timm_package import import_timm


class TimmTrunk(nn.Module):
    """Stem and blocks of a timm model of MobileNetV3's form, with timm's names of weights."""

    def __init__(self, model: Any) -> None:
        """Take what comes before the model's pooling."""
        super().__init__()
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks

    def forward(self, pixels: Tensor) -> Tensor:
        """Give activations (B, C, H / 32, W / 32) of normalised (B, 3, H, W) pixels."""
        activations: Tensor = self.blocks(self.bn1(self.conv_stem(pixels)))
        return activations


def timm_trunk(name: str) -> tuple[TimmTrunk, int]:
    """Return the trunk of timm's model of that name, with fresh weights, and C.

    It ends where timm's own pooling begins, at 576 or 960 channels: the convolution `conv_head` that these networks
    have behind it, 1,024 or 1,280 wide, belongs to their classifier.

    Raises:
        MissingExtraError: timm is not installed, or cannot be loaded.
    """
    model: Any = import_timm(name).create_model(name, pretrained=False, num_classes=0)
    return TimmTrunk(model), int(model.num_features)
