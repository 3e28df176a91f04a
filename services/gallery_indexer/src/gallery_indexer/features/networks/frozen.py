"""Frozen networks: fused batch normalisations, and bfloat16 on a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

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
