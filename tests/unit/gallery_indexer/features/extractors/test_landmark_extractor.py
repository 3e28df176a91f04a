from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from aff_shared.errors import BundleNotFoundError
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.how import how_spec
from gallery_indexer.features.extractors.landmark_extractor import Pixels, extract_by_shape
from gallery_indexer.features.extractors.load_extractor import load_extractor

UPRIGHT, LYING = (20, 16), (16, 20)


class _Network:
    """Returns the first pixel's red, and records its inputs."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: Pixels) -> Mapping[str, FeatureBatch]:
        self.shapes.append(pixels.shape[:3])
        return {"red": FeatureBatch.from_global(torch.from_numpy(pixels[:, 0, 0, :1].astype(np.float32)))}


def test_a_network_sees_few_batch_sizes_and_the_features_keep_the_photographs_order() -> None:
    network = _Network()
    sizes = [LYING if number % 4 == 0 else UPRIGHT for number in range(17)]
    images = [np.full((*size, 3), number, dtype=np.uint8) for number, size in enumerate(sizes)]
    features = extract_by_shape(images, Preprocessing(resize="longest_side", size=32), network)
    assert features["red"].values.flatten().tolist() == list(range(17))
    assert network.shapes == [(4, *LYING), (1, *LYING), (8, *UPRIGHT), (4, *UPRIGHT)]


def test_a_network_with_weights_is_not_used_without_them(tmp_path: Path) -> None:
    spec = how_spec(18, "how.safetensors", "a file").model_copy(update={"weights": None})
    with pytest.raises(BundleNotFoundError):
        load_extractor(spec, tmp_path, torch.device("cpu"))
