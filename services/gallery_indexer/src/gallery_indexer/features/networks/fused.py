"""A convolution with what follows it in a residual network, in as few passes over memory as the device allows."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolved(
    convolution: nn.Conv2d, norm: nn.Module, x: Tensor, *, floor: float = 0.0, added: Tensor | None = None
) -> Tensor:
    """Convolve, normalise, add and clamp.

    cuDNN does all of it in one kernel where the batch normalisation has become part of the convolution (see `frozen`):
    what a ResNet does between its convolutions is bound by memory, and takes longer than they do.

    Args:
        convolution: Takes (B, C, H, W).
        norm: Follows it; nothing where it has become part of it.
        x: (B, C, H, W).
        floor: What the sum is raised to at least.
        added: (B, C', h, w) added to what the convolution gives; none when None.

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
    assert bias is not None, "convolved sees to it"
    if floor:
        bias = bias - floor  # max(y, f) = max(y - f, 0) + f
    padding = [int(side) for side in convolution.padding]
    where = (convolution.stride, padding, convolution.dilation, convolution.groups)
    if added is None:
        y = torch.cudnn_convolution_relu(x, weight, bias, *where)
    else:
        y = torch.cudnn_convolution_add_relu(x, weight, added, 1.0, bias, *where)
    return y.add_(floor) if floor else y
