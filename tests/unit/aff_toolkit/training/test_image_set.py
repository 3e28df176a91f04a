"""Training images in memory."""

from __future__ import annotations

import numpy as np
import torch

from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.image_set import build_image_set
from gallery_indexer.extractors.extractor import FeatureBatch, Images


def plain(instance: str, level: int) -> Photograph:
    return Photograph(instance, instance, lambda: np.full((20, 30, 3), level, np.uint8))


def mean_level(images: Images) -> dict[str, FeatureBatch]:
    """One token an image: its mean level, and its width, as a real extractor sees the photograph's own pixels."""
    values = torch.tensor([[image.mean(), image.shape[1]] for image in images], dtype=torch.float32)
    return {"level": FeatureBatch.from_global(values)}


PHOTOGRAPHS = [plain("pear", 10), plain("apple", 20), plain("pear", 30)]


def test_pixels_keep_the_order_of_the_photographs_at_one_size() -> None:
    images = build_image_set(PHOTOGRAPHS, 16, extract=None, on_progress=lambda _: None)
    assert images.pixels.shape == (3, 16, 16, 3)
    assert images.pixels[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert images.features == {}


def test_labels_number_the_instances_by_name() -> None:
    images = build_image_set(PHOTOGRAPHS, 16, extract=None, on_progress=lambda _: None)
    assert images.labels.tolist() == [1, 0, 1]
    assert images.classes == 2


def test_features_are_kept_as_float16_and_given_as_float32() -> None:
    images = build_image_set(PHOTOGRAPHS, 16, extract=mean_level, on_progress=lambda _: None)
    assert images.features["level"].values.dtype == torch.float16
    given = images.features_of(torch.tensor([2, 0]))["level"]
    assert given.values.dtype == torch.float32
    assert given.values.squeeze(1).tolist() == [[30.0, 30.0], [10.0, 30.0]]
    assert given.mask.tolist() == [[True], [True]]


def test_more_photographs_than_a_batch_stay_in_order_and_are_counted() -> None:
    photographs = [plain(f"{level:03d}", level) for level in range(150)]
    done: list[int] = []
    images = build_image_set(photographs, 16, extract=mean_level, on_progress=done.append)
    assert sum(done) == 150
    assert len(done) > 1
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(150))
    assert images.features["level"].values[:, 0, 0].tolist() == list(range(150))
