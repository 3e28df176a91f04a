"""EfficientNet-Lite (Tan and Le, ICML 2019, in TensorFlow's variants for small devices), without its classifier.

EfficientNet with compound scaling but without squeeze-and-excitation, with ReLU6, and with an unscaled stem and head.
Convolutions are padded as by TensorFlow's `SAME`: depending on the input size, with more cells after than before.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Variant = Literal["lite0", "lite1", "lite2"]

OUT_CHANNELS = 1280
_STEM = 32
_MEAN, _STD = 127.0, 128.0
_EPSILON, _MOMENTUM = 1e-3, 0.01
# Repeats, kernel, stride, expansion and output channels of each stage, before scaling.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FIXED_REPEATS = (0, len(_STAGES) - 1)
_DIVISOR = 8
_MOST_LOST = 0.9
# Factors of the channels and of the repeats.
_SCALING: dict[Variant, tuple[float, float]] = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


class EfficientNetLite(nn.Module):
    """The network up to the pooling: a stem, blocks and a head.

    Attributes:
        variant: The variant.
        blocks: The blocks in order; a training may freeze the first ones and the stem (`conv_stem`, `bn_stem`).
    """

    def __init__(self, variant: Variant) -> None:
        """Build the network with random weights."""
        super().__init__()
        self.variant = variant
        width, depth = _SCALING[variant]
        self.conv_stem = _SameConv2d(3, _STEM, 3, stride=2)
        self.bn_stem = _norm(_STEM)
        blocks: list[nn.Module] = []
        inputs = _STEM
        for number, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
            outputs = _scaled_channels(channels, width)
            count = repeats if number in _FIXED_REPEATS else math.ceil(depth * repeats)
            blocks.append(_Block(inputs, outputs, kernel, stride, expansion))
            blocks += [_Block(outputs, outputs, kernel, 1, expansion) for _ in range(count - 1)]
            inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.conv_head = _SameConv2d(inputs, OUT_CHANNELS, 1)
        self.bn_head = _norm(OUT_CHANNELS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Describe photographs of any height and width.

        Args:
            pixels: (B, 3, H, W) RGB from 0 to 255, uint8 or float32; normalisation is part of the network.

        Returns:
            (B, 1280, h, w) from 0 to 6; h and w are a 32nd of H and W, rounded up.
        """
        x = _relu6(self.bn_stem(self.conv_stem((pixels.float() - _MEAN) / _STD)))
        for block in self.blocks:
            x = block(x)
        return _relu6(self.bn_head(self.conv_head(x)))


class _SameConv2d(nn.Conv2d):
    """A convolution without bias; the output's size is the input's divided by the stride, rounded up."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if torch.onnx.is_in_onnx_export():
            return _SameInOnnx.apply(x, self.weight, self.bias, self)  # type: ignore[no-any-return,no-untyped-call]
        return self.padded(x)

    def padded(self, x: Tensor) -> Tensor:
        """Pad and convolve."""
        (top, bottom), (left, right) = (self._padding(side) for side in x.shape[-2:])
        padding = (top, left)
        if padding != (bottom, right):  # not supported by conv2d; costs a pass over memory
            x, padding = F.pad(x, (left, right, top, bottom)), (0, 0)
        return F.conv2d(x, self.weight, self.bias, self.stride, padding, groups=self.groups)

    def _padding(self, side: int) -> tuple[int, int]:
        """Return the padding before and after a side of this many cells."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((math.ceil(side / stride) - 1) * stride + kernel - side, 0)
        return total // 2, total - total // 2


class _SameInOnnx(torch.autograd.Function):
    """The convolution as a node of an ONNX graph, which pads any input; a trace would have the padding of one size."""

    @staticmethod
    def forward(_: Any, x: Tensor, _weight: Tensor, _bias: Tensor | None, convolution: _SameConv2d) -> Tensor:
        return convolution.padded(x)

    @staticmethod
    def symbolic(graph: Any, x: Any, weight: Any, bias: Any, convolution: _SameConv2d) -> Any:
        inputs = [x, weight] if convolution.bias is None else [x, weight, bias]
        return graph.op(
            "Conv",
            *inputs,
            auto_pad_s="SAME_UPPER",
            kernel_shape_i=convolution.kernel_size,
            strides_i=convolution.stride,
            group_i=convolution.groups,
        )


class _Block(nn.Module):
    """An inverted residual (Sandler et al., CVPR 2018): expand, filter each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands = expansion != 1
        if self.expands:
            self.conv_expand = _SameConv2d(inputs, width, 1)
            self.bn_expand = _norm(width)
        self.conv_depthwise = _SameConv2d(width, width, kernel, stride=stride, groups=width)
        self.bn_depthwise = _norm(width)
        self.conv_project = _SameConv2d(width, outputs, 1)
        self.bn_project = _norm(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        widened = _relu6(self.bn_expand(self.conv_expand(x))) if self.expands else x
        filtered = _relu6(self.bn_depthwise(self.conv_depthwise(widened)))
        projected: Tensor = self.bn_project(self.conv_project(filtered))
        return projected + x if self.has_shortcut else projected


def _relu6(x: Tensor) -> Tensor:
    """Clamp to 0 to 6, in place except during an export, which takes half as long again with operations in place."""
    return F.relu6(x, inplace=not torch.compiler.is_exporting())


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON, momentum=_MOMENTUM)


def _scaled_channels(channels: int, factor: float) -> int:
    """Return the nearest multiple of 8 that is no more than a tenth below the scaled number."""
    scaled = channels * factor
    rounded = int(scaled + _DIVISOR / 2) // _DIVISOR * _DIVISOR
    return rounded + _DIVISOR if rounded < _MOST_LOST * scaled else rounded
