"""Batches of photographs that one tensor can hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from aff_contracts.preprocessing import Preprocessing, preprocess
from gallery_indexer.extractors.extractor import FeatureBatch, Images


def shape_batches(images: Images, spec: Preprocessing, device: torch.device) -> Iterator[tuple[list[int], Tensor]]:
    """Bring photographs to the input size and give those of one shape together.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: How they are brought to the input size.
        device: Of the tensors; a card copies from pinned memory while the host goes on.

    Yields:
        Places of photographs among `images`, and their pixels (B, 3, h, w) uint8 RGB, channels last, on the device.
    """
    places: dict[tuple[int, int], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        places[spec.output_shape(*image.shape[:2])].append(place)
    for same_shape in places.values():
        pixels = torch.from_numpy(np.stack([preprocess(images[place], spec) for place in same_shape]))
        if device.type == "cuda":
            pixels = pixels.pin_memory().to(device, non_blocking=True)
        yield same_shape, pixels.permute(0, 3, 1, 2)


def extract_by_shape(
    images: Images,
    spec: Preprocessing,
    device: torch.device,
    features: Callable[[Tensor], Mapping[str, FeatureBatch]],
) -> dict[str, FeatureBatch]:
    """Run a network on the photographs of each shape, and give the features in the photographs' order.

    Args:
        images: Photographs (H, W, 3) uint8 upright RGB.
        spec: How they are brought to the input size.
        device: Of the network.
        features: Gives the features of (B, 3, h, w) uint8 pixels; local ones padded to one number of tokens.
    """
    order: list[int] = []
    parts: list[Mapping[str, FeatureBatch]] = []
    for places, pixels in shape_batches(images, spec, device):
        order += places
        parts.append(features(pixels))
    back = torch.argsort(torch.tensor(order)).to(device)
    return {name: _joined([part[name] for part in parts], back) for name in parts[0]}


def _joined(parts: list[FeatureBatch], order: Tensor) -> FeatureBatch:
    def join(tensors: list[Tensor | None]) -> Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(present)[order] if present else None

    return FeatureBatch(
        torch.cat([part.values for part in parts])[order],
        torch.cat([part.mask for part in parts])[order],
        join([part.positions for part in parts]),
        join([part.strengths for part in parts]),
    )
