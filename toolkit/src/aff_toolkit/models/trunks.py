"""Trunks of light networks that transformers does not have."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from aff_shared.errors import MissingExtraError
from aff_toolkit.errors import ExtractorUnavailableError
from gallery_indexer.features.extractors.timm_backbone import import_timm, torchvision_command
from gallery_indexer.features.networks.layers import IMAGENET_MEAN, IMAGENET_STD

_STEM = 24
_WIDTHS = (116, 232, 464)
_REPEATS = (4, 8, 4)
CHANNELS = 1024
# Children of torchvision's models from which on there is no map of activations.
_TORCHVISION_HEADS = {"avgpool", "pool", "flatten", "classifier", "fc", "head", "heads"}
_PROBED_SIDE = 64
_MAP_AXES = 4


class TimmTrunk(nn.Module):
    """Stem and blocks of a timm model of MobileNetV3's form, with timm's names of weights."""

    def __init__(self, model: Any) -> None:
        """Use the layers before the model's pooling."""
        super().__init__()
        self.conv_stem, self.bn1, self.blocks = model.conv_stem, model.bn1, model.blocks

    def forward(self, pixels: Tensor) -> Tensor:
        """Return activations (B, C, H / 32, W / 32) of normalised (B, 3, H, W) pixels."""
        activations: Tensor = self.blocks(self.bn1(self.conv_stem(pixels)))
        return activations


def timm_trunk(name: str) -> tuple[TimmTrunk, int]:
    """Return the trunk of a timm model with random weights, and its number of channels C.

    It ends before timm's pooling, at 576 or 960 channels: the convolution `conv_head` behind the pooling, 1,024 or
    1,280 wide, is part of the classifier.

    Raises:
        MissingExtraError: timm is not installed, or cannot be loaded.
    """
    model: Any = import_timm(name).create_model(name, pretrained=False, num_classes=0)
    return TimmTrunk(model), int(model.num_features)


class LibraryTrunk(nn.Module):
    """A model of timm or torchvision without its classifier, with the library's names of weights.

    Attributes:
        package: `timm` or `torchvision`.
        channels: Channels C of the activations.
        mean: Mean of the pixels from 0 to 1 that the model's released weights expect.
        std: Their standard deviation.
    """

    def __init__(self, name: str) -> None:
        """Build a model with random weights.

        Args:
            name: `timm:NAME` or `torchvision:NAME`.

        Raises:
            MissingExtraError: The library is not installed, or cannot be loaded.
            ExtractorUnavailableError: It has no such model, or the model does not end with a map of activations.
        """
        super().__init__()
        self.package, _, model = name.partition(":")
        self.mean, self.std = IMAGENET_MEAN, IMAGENET_STD
        try:
            self.model = self._timm(model) if self.package == "timm" else _torchvision_layers(name, model)
            with torch.no_grad():
                activations = self.eval()(torch.zeros(1, 3, _PROBED_SIDE, _PROBED_SIDE))
        except (ValueError, RuntimeError, TypeError, AssertionError, NotImplementedError) as error:
            raise ExtractorUnavailableError(f"cannot be used as a query backbone: {error}", item=name) from error
        if activations.ndim != _MAP_AXES:
            raise ExtractorUnavailableError("has no map of activations, as convolutional networks have", item=name)
        self.channels: int = activations.shape[1]
        self.train()

    def _timm(self, name: str) -> Any:
        timm = import_timm(name)
        if not timm.is_model(name):  # also rejects names that timm would download
            raise ValueError(f"timm {timm.__version__} has no model {name!r}")
        model = timm.create_model(name, pretrained=False, num_classes=0, global_pool="")
        self.mean, self.std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
        return model

    def forward(self, pixels: Tensor) -> Tensor:
        """Return activations (B, C, h, w) of normalised (B, 3, H, W) pixels."""
        activations: Tensor = self.model(pixels)
        if getattr(self.model, "output_fmt", "NCHW") == "NHWC":
            activations = activations.permute(0, 3, 1, 2)
        return activations


def _torchvision_layers(needed_by: str, name: str) -> nn.Module:
    """Return the layers before the pooling, one after the other."""
    model = import_torchvision(needed_by).models.get_model(name, weights=None)
    layers = OrderedDict[str, nn.Module]()
    for layer_name, layer in model.named_children():
        if layer_name in _TORCHVISION_HEADS:
            break
        layers[layer_name] = layer
    return nn.Sequential(layers)


def import_torchvision(needed_by: str) -> Any:
    """Return the module.

    Args:
        needed_by: Name of the network, for the message.

    Raises:
        MissingExtraError: torchvision is not installed, or of another build than torch; has the command to fix it.
    """
    try:
        import torchvision  # noqa: PLC0415 - optional
    except (ImportError, RuntimeError, OSError) as error:
        detail = f"needs torchvision, of torch's build ({error}): {torchvision_command()}"
        raise MissingExtraError(detail, item=needed_by) from error
    return torchvision


class ShuffleNetV2(nn.Module):
    """The trunk of width 1.0."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False), *_norm_relu(_STEM))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        inputs = (_STEM, *_WIDTHS[:-1])
        self.stage2, self.stage3, self.stage4 = map(_stage, inputs, _WIDTHS, _REPEATS)
        self.conv5 = nn.Sequential(nn.Conv2d(_WIDTHS[-1], CHANNELS, 1, bias=False), *_norm_relu(CHANNELS))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return activations (B, 1024, H / 32, W / 32) of normalised (B, 3, H, W) pixels."""
        stem = self.maxpool(self.conv1(pixels))
        activations: Tensor = self.conv5(self.stage4(self.stage3(self.stage2(stem))))
        return activations


def _stage(inputs: int, width: int, repeats: int) -> nn.Sequential:
    return nn.Sequential(_Unit(inputs, width, 2), *(_Unit(width, width, 1) for _ in range(repeats - 1)))


class _Unit(nn.Module):
    """Half of the channels pass by (or through a depthwise branch, where the map shrinks); then halves are shuffled."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1 = (
            nn.Sequential()
            if stride == 1
            else nn.Sequential(*_depthwise(inputs, stride), nn.Conv2d(inputs, half, 1, bias=False), *_norm_relu(half))
        )
        entering = half if stride == 1 else inputs
        self.branch2 = nn.Sequential(
            nn.Conv2d(entering, half, 1, bias=False),
            *_norm_relu(half),
            *_depthwise(half, stride),
            nn.Conv2d(half, half, 1, bias=False),
            *_norm_relu(half),
        )
        self._splits = stride == 1

    def forward(self, x: Tensor) -> Tensor:
        passing, entering = x.chunk(2, dim=1) if self._splits else (x, x)
        both = torch.stack([self.branch1(passing), self.branch2(entering)], dim=2)
        return both.flatten(1, 2)


def _norm_relu(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm2d(channels), nn.ReLU(inplace=True)


def _depthwise(channels: int, stride: int) -> tuple[nn.Module, nn.Module]:
    conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    return conv, nn.BatchNorm2d(channels)
