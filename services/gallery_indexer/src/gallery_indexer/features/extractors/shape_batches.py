"""Batches of photographs that one tensor can hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images

Pixels = NDArray[np.uint8]


def shape_batches(images: Images, spec: Preprocessing) -> Iterator[tuple[list[int], Pixels]]:
    """Bring photographs to the input size and give those of one shape together.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: How they are brought to the input size.

    Yields:
        Places of photographs among `images`, and their pixels (B, h, w, 3) uint8 RGB.
    """
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        places[spec.output_shape(*image.shape[:2])].append(place)
    for same_shape in places.values():
        yield same_shape, np.stack([preprocess(images[place], spec) for place in same_shape])


def on_device(pixels: Pixels, device: torch.device) -> Tensor:
    """Bring (B, h, w, 3) pixels to a device as (B, 3, h, w), channels last; a card copies while the host goes on."""
    tensor = torch.from_numpy(pixels)
    if device.type == "cuda":
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        np.copyto(pinned.numpy(), pixels)  # torch would wake a thread on every core, and have them spin afterwards
        tensor = pinned.to(device, non_blocking=True)
    return tensor.permute(0, 3, 1, 2)


def extract_by_shape(
    images: Images,
    spec: Preprocessing,
    features: Callable[[Pixels], Mapping[str, FeatureBatch]],
) -> dict[str, FeatureBatch]:
    """Run a convolutional network on the photographs of each shape, and give the features in the photographs' order.

    It sees powers of two of them at a time: cuDNN plans every convolution for every new shape, batch size included, and
    planning three ResNet-101 takes a second, so few batch sizes have to do.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: How they are brought to the input size.
        features: Gives the features of (B, h, w, 3) uint8 pixels; local ones padded to one number of tokens.
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
    """Cut a range into parts, the largest first: 13 into 0 to 8, 8 to 12, 12 to 13."""
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
