"""Convolutional extractors: photographs of one shape form a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.networks.frozen import frozen

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
    """

    def __init__(self, spec: ExtractorSpec, network: _Network, device: torch.device) -> None:
        self.spec = spec
        self._network = frozen(network, device, spec.config)
        self._device = device

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        return extract_by_shape(images, self.spec.preprocessing, self._features)

    @abstractmethod
    def _features(self, pixels: Pixels) -> dict[str, FeatureBatch]:
        """Return the features of (B, h, w, 3) uint8 RGB pixels at the input size, by their names."""
