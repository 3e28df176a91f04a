"""Base class of convolutional extractors, batches of photographs of one shape, and the strongest local features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Generic, Literal, Self, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_model
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.networks.layers import EPSILON, frozen
from gallery_indexer.features.networks.onnx_network import OnnxNetwork

Pixels = NDArray[np.uint8]
_Network = TypeVar("_Network", bound=nn.Module)


def shape_batches(images: Images, spec: Preprocessing) -> Iterator[tuple[list[int], Pixels]]:
    """Preprocess photographs and group them by shape.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: The preprocessing.

    Yields:
        Indices into `images`, and the pixels (B, h, w, 3) uint8 RGB of these photographs.
    """
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        places[spec.output_shape(*image.shape[:2])].append(place)
    for same_shape in places.values():
        yield same_shape, np.stack([preprocess(images[place], spec) for place in same_shape])


def on_device(pixels: Pixels, device: torch.device) -> Tensor:
    """Move (B, h, w, 3) pixels to a device as (B, 3, h, w), channels last; copies to a GPU are asynchronous."""
    tensor = torch.from_numpy(pixels)
    if device.type == "cuda":
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        np.copyto(pinned.numpy(), pixels)  # torch's copy would start a busy-waiting thread on every core
        tensor = pinned.to(device, non_blocking=True)
    return tensor.permute(0, 3, 1, 2)


def extract_by_shape(
    images: Images,
    spec: Preprocessing,
    features: Callable[[Pixels], Mapping[str, FeatureBatch]],
) -> dict[str, FeatureBatch]:
    """Run a convolutional network on the photographs of each shape; return the features in the photographs' order.

    Batch sizes are powers of two: cuDNN plans every convolution for each new shape and batch size, which takes a second
    for three ResNet-101, so there should be few sizes.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: The preprocessing.
        features: Returns the features of (B, h, w, 3) uint8 pixels; local features padded to one number of tokens.
    """
    order: list[int] = []
    parts: list[Mapping[str, FeatureBatch]] = []
    for places, pixels in shape_batches(images, spec):
        order += places
        for start, end in _powers_of_two(len(places)):
            parts.append(features(pixels[start:end]))
    back = torch.argsort(torch.tensor(order))
    return {name: _joined([part[name] for part in parts], back) for name in parts[0]}


def _powers_of_two(count: int) -> Iterator[tuple[int, int]]:
    """Split a range into parts, the largest first: 13 into 0 to 8, 8 to 12, 12 to 13."""
    start = 0
    while start < count:
        end = start + (1 << (count - start).bit_length() - 1)
        yield start, end
        start = end


def _joined(parts: list[FeatureBatch], order: Tensor) -> FeatureBatch:
    order = order.to(parts[0].values.device)

    def join(tensors: list[Tensor | None]) -> Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(present)[order] if present else None

    return FeatureBatch(
        torch.cat([part.values for part in parts])[order],
        torch.cat([part.mask for part in parts])[order],
        join([part.positions for part in parts]),
        join([part.strengths for part in parts]),
    )


class LandmarkExtractor(ABC, Generic[_Network]):
    """Base class: a frozen convolutional network that runs on photographs of one shape at a time.

    Args:
        spec: Features and preprocessing.
        network: The network with its weights.
        device: The device it runs on.

    Attributes:
        FASTER_IN_ONNX_RUNTIME: Whether the network was measured to be faster in ONNX Runtime on a CPU. It is then only
            called with pixels, of which the exporter can trace all that it does.
    """

    FASTER_IN_ONNX_RUNTIME: ClassVar[bool] = False

    def __init__(self, spec: ExtractorSpec, network: _Network, device: torch.device) -> None:
        self.spec = spec
        self._network = frozen(network, device, spec.config)
        self._device = device

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> Self:
        """Build the network that the specification describes, and load its weights, of either precision."""
        network = cls._build(spec)
        if network.state_dict():
            load_model(network, weights)
        return cls(spec, network, device)

    @classmethod
    @abstractmethod
    def _build(cls, spec: ExtractorSpec) -> _Network:
        """Return the network that a specification describes; its weights are loaded later."""

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        return extract_by_shape(images, self.spec.preprocessing, self._features)

    def use_onnx_runtime(self) -> None:
        """Run the network in ONNX Runtime where that is faster; its outputs differ by rounding only."""
        if self.FASTER_IN_ONNX_RUNTIME and self._device.type == "cpu":
            self._network = cast("_Network", OnnxNetwork(self._network))

    @abstractmethod
    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        """Return the features of (B, h, w, 3) uint8 RGB pixels at the input size, by their names."""


_GEM_EXPONENT = 3.0


def cell_positions(cells: Tensor, height: int, width: int) -> Tensor:
    """Return the centres of cells of a height x width grid.

    Args:
        cells: (B, n) int64, numbers of the cells, row by row.
        height: Rows of the grid.
        width: Columns of the grid.

    Returns:
        (B, n, 2) float32 in (0, 1): x, then y.
    """
    columns, rows = cells % width, cells // width
    return torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)


def strongest_tokens(values: Tensor, strengths: Tensor, positions: Tensor, count: int) -> FeatureBatch:
    """Select the `count` strongest tokens; missing ones are masked.

    Args:
        values: (B, N, d).
        strengths: (B, N); 0 or less means that there is no token.
        positions: (B, N, 2) or (N, 2), shares of the image's width and height.
        count: Number of tokens in the result, n.
    """
    B, N, d = values.shape
    kept, missing = min(count, N), max(0, count - N)
    top = strengths.topk(kept, dim=1)
    places = top.indices[..., None]
    chosen = values.gather(1, places.expand(-1, -1, d))
    where = positions.expand(B, -1, -1).gather(1, places.expand(-1, -1, 2))
    mask = top.values > 0
    present = mask[..., None]
    return FeatureBatch(
        F.pad(chosen.float() * present, (0, 0, 0, missing)),
        F.pad(mask, (0, missing)),
        F.pad(where * present, (0, 0, 0, missing)),
        F.pad(top.values.float(), (0, missing)),
    )


def pool_patches(tokens: Tensor, head: Literal["mean", "gem"]) -> Tensor:
    """Pool patches (B, N, d) to (B, d) by their mean or generalised mean (Radenovic et al., TPAMI 2018)."""
    if head == "mean":
        return tokens.mean(dim=1)
    powers: Tensor = tokens.clamp(min=EPSILON).pow(_GEM_EXPONENT)
    return powers.mean(dim=1).pow(1 / _GEM_EXPONENT)


def strongest_patches(tokens: Tensor, strengths: Tensor, grid: tuple[int, int], count: int) -> FeatureBatch:
    """Select the strongest patches as unit vectors.

    Args:
        tokens: (B, N, d), row by row.
        strengths: (B, N).
        grid: Rows and columns of the patches; N is their product.
        count: Number of tokens in the result; missing ones are masked.
    """
    height, width = grid
    cells = torch.arange(height * width, device=tokens.device)
    positions = cell_positions(cells, height, width)
    return strongest_tokens(F.normalize(tokens, dim=-1), strengths, positions, count)
