"""Building blocks of frozen networks: devices, precision, fused convolutions, pooling, attention."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from aff_shared.errors import InvalidParameterError
from aff_shared.resource_limits import usable_cores

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
EPSILON = 1e-6


def normalise(pixels: Tensor, mean: tuple[float, ...] = IMAGENET_MEAN, std: tuple[float, ...] = IMAGENET_STD) -> Tensor:
    """Normalise (B, 3, H, W) RGB pixels from 0 to 255 to zero mean and unit deviation, float32.

    Args:
        pixels: uint8 or float.
        mean: Mean by channel, for pixels from 0 to 1; ImageNet's by default.
        std: Standard deviation by channel, for pixels from 0 to 1.
    """
    shift, scale = (_by_channel(values, pixels.device) for values in (mean, std))
    return (pixels / 255.0 - shift) / scale


def _by_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """Return (3, 1, 1) on the device; copied from pinned memory, since other copies wait for the GPU's queue."""
    tensor = torch.tensor(values).view(3, 1, 1)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class GeM(nn.Module):
    """Generalised mean over the spatial axes with a learnable exponent (Radenovic et al., TPAMI 2018)."""

    def __init__(self, exponent: float = 3.0) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent))

    def forward(self, activations: Tensor) -> Tensor:
        """Pool (B, C, H, W) to (B, C)."""
        positive = activations.float().clamp(min=EPSILON)
        return positive.pow(self.exponent).mean(dim=(-2, -1)).pow(1.0 / self.exponent)


def scaled(pixels: Tensor, scale: float) -> Tensor:
    """Resize (B, 3, H, W) to the nearest whole size, bilinearly and without antialiasing, as OpenCV's INTER_LINEAR."""
    height, width = (round(side * scale) for side in pixels.shape[-2:])
    if (height, width) == pixels.shape[-2:]:
        return pixels
    return F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)


_Network = TypeVar("_Network", bound=nn.Module)


def frozen(network: _Network, device: torch.device, config: Mapping[str, Any]) -> _Network:
    """Move a convolutional network to a device for inference only.

    Weights are laid out channels-last, and batch normalisations of a ResNet trunk are fused into the convolutions
    before them. That saves a tenth of the time on a CPU and more than half on a GPU (see `convolved`).

    Args:
        network: The network with its weights; changed in place.
        device: The device it runs on.
        config: The extractor's config, of which `precision` is read.
    """
    network.eval().requires_grad_(False)
    for parent, convolution, norm in list(_pairs(network)):
        fused = fuse_conv_bn_eval(getattr(parent, convolution), getattr(parent, norm))
        setattr(parent, convolution, fused)
        setattr(parent, norm, nn.Identity())
    network.to(device)
    if runs_in_bf16(device, config):
        keep_matrices_in_bf16(network)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _pairs(network: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """Yield every convolution with a batch normalisation after it: the parent and the two names."""
    for parent in network.modules():
        children = dict(parent.named_children())
        followers = {name: name.replace("conv", "bn") for name in children if name.startswith("conv")}
        if isinstance(parent, nn.Sequential):
            followers["0"] = "1"
        for first, second in followers.items():
            if isinstance(children.get(first), nn.Conv2d) and isinstance(children.get(second), nn.BatchNorm2d):
                yield parent, first, second


def runs_in_bf16(device: torch.device, config: Mapping[str, Any]) -> bool:
    """Return whether an extractor runs in bfloat16: on a GPU, if its config has `precision: bf16`."""
    return config.get("precision", "fp32") == "bf16" and device.type == "cuda"


def autocast(device: torch.device, config: Mapping[str, Any]) -> torch.autocast:
    """Return a context of bfloat16 for an extractor that runs in it, else of float32, which is exact."""
    return torch.autocast(device.type, torch.bfloat16, enabled=runs_in_bf16(device, config))


def keep_matrices_in_bf16(network: nn.Module) -> None:
    """Round the weights of convolutions and linear layers once; autocast would round them at each call."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)


def convolved(
    convolution: nn.Conv2d, norm: nn.Module, x: Tensor, *, floor: float = 0.0, added: Tensor | None = None
) -> Tensor:
    """Convolve, normalise, add and clamp.

    If the batch normalisation is fused into the convolution (see `frozen`), cuDNN runs all of it in one kernel. The
    steps between the convolutions of a ResNet are bound by memory and take longer than the convolutions.

    Args:
        convolution: The convolution.
        norm: The normalisation after it; nn.Identity if it is fused.
        x: (B, C, H, W).
        floor: Lower bound of the result.
        added: (B, C', h, w), added to the output of the convolution; None adds nothing.

    Returns:
        (B, C', h, w).
    """
    if isinstance(norm, nn.Identity) and x.is_cuda and torch.version.cuda is not None and convolution.bias is not None:
        return _in_one_kernel(convolution, x.to(convolution.weight.dtype), floor, added)
    y: Tensor = norm(convolution(x))
    if added is not None:
        y = y + added
    return y.clamp_(min=floor)


def _in_one_kernel(convolution: nn.Conv2d, x: Tensor, floor: float, added: Tensor | None) -> Tensor:
    weight, bias = convolution.weight, convolution.bias
    assert bias is not None, "checked in convolved"
    if floor:
        bias = bias - floor  # max(y, f) = max(y - f, 0) + f
    padding = [int(side) for side in convolution.padding]
    where = (convolution.stride, padding, convolution.dilation, convolution.groups)
    if added is None:
        y = torch.cudnn_convolution_relu(x, weight, bias, *where)
    else:
        y = torch.cudnn_convolution_add_relu(x, weight, added, 1.0, bias, *where)
    return y.add_(floor) if floor else y


_DILATIONS = (6, 12, 18)
_BRANCH_WIDTH = 512


class SpatialAttention(nn.Module):
    """The attention in DELG (Cao et al., ECCV 2020) and DOLG (Yang et al., ICCV 2021) over a feature map.

    Two 1 x 1 convolutions: the first describes a cell, the second weights it.
    """

    def __init__(self, inputs: int, width: int, *, multi_atrous: bool = False) -> None:
        super().__init__()
        self.aspp = MultiAtrous(inputs) if multi_atrous else None
        self.conv1 = nn.Conv2d(inputs, width, 1)
        self.bn = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 1, 1)

    def forward(self, activations: Tensor) -> tuple[Tensor, Tensor]:
        """Return unit descriptors (B, width, h, w) and positive weights (B, 1, h, w) of (B, C, h, w) activations."""
        if self.aspp is not None:
            activations = self.aspp(activations)
        described = self.bn(self.conv1(activations))
        return F.normalize(described.float(), dim=1), F.softplus(self.conv2(F.relu(described)).float())


class MultiAtrous(nn.Module):
    """Merges convolutions of several dilations and the mean of the map (DOLG, sec. 3.2)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        dilated = [nn.Conv2d(inputs, _BRANCH_WIDTH, 3, padding=d, dilation=d) for d in _DILATIONS]
        self.aspp = nn.ModuleList([nn.Conv2d(inputs, _BRANCH_WIDTH, 1), *dilated])
        self.im_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, _BRANCH_WIDTH, 1), nn.ReLU())
        merged = _BRANCH_WIDTH * (len(self.aspp) + 1)
        self.conv_after = nn.Sequential(nn.Conv2d(merged, inputs, 1), nn.ReLU())

    def forward(self, activations: Tensor) -> Tensor:
        """Return (B, C, h, w) for (B, C, h, w) activations."""
        whole = self.im_pool(activations).expand(-1, -1, *activations.shape[-2:])
        merged: Tensor = self.conv_after(torch.cat([whole, *(branch(activations) for branch in self.aspp)], dim=1))
        return merged


def device_named(name: str) -> torch.device:
    """Return the device `cpu` or `cuda`; for `auto`, CUDA if there is a GPU.

    Raises:
        InvalidParameterError: There is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in {"cpu", "cuda"}:
        raise InvalidParameterError(f"{name!r} is not one of auto, cpu, cuda", item="device")
    if name != "cpu" and not torch.cuda.is_available():
        raise InvalidParameterError(f"torch finds no GPU for {name!r}: use cpu or auto", item="device")
    return torch.device(name)


def limit_threads() -> None:
    """Limit torch's threads to the cores of this process; its default is the machine's cores."""
    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
