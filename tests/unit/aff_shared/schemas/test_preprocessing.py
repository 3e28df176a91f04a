from __future__ import annotations

import numpy as np
import pytest

from aff_shared.schemas.preprocessing import Preprocessing, preprocess


@pytest.mark.parametrize(
    ("resize", "shape", "expected"),
    [
        ("stretch", (30, 90), (32, 32)),
        ("longest_side", (64, 128), (16, 32)),
        ("longest_side", (128, 64), (32, 16)),
        ("longest_side", (20, 30), (20, 30)),  # never enlarged
        ("longest_side", (2, 1000), (1, 32)),  # never thinner than a pixel
    ],
)
def test_the_shape_follows_from_the_specification(
    resize: str, shape: tuple[int, int], expected: tuple[int, int]
) -> None:
    spec = Preprocessing.model_validate({"resize": resize, "size": 32})
    assert spec.output_shape(*shape) == expected
    result = preprocess(np.zeros((*shape, 3), dtype=np.uint8), spec)
    assert result.shape == (*expected, 3)
    assert result.dtype == np.uint8


def test_halving_takes_the_triangle_weighted_mean_of_the_pixels() -> None:
    # Pillow's bilinear filter at a scale of 2 has a support of 2 source pixels to each side of the centre,
    # so of a row of 32 bright pixels after 32 dark ones only outputs 15 and 16, next to the edge, are mixed:
    # weights 1/8, 3/8, 3/8, 1/8, of which one is across the edge.
    row = np.repeat(np.array([0, 160], dtype=np.uint8), 32)
    image = np.broadcast_to(row[np.newaxis, :, np.newaxis], (64, 64, 3)).copy()
    result = preprocess(image, Preprocessing(resize="stretch", size=32))
    assert result[0, 14:18, 0].tolist() == [0, 20, 140, 160]


def test_an_image_of_the_right_size_keeps_its_pixels() -> None:
    image = np.arange(16 * 16 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3)
    flipped = image[::-1]
    result = preprocess(flipped, Preprocessing(resize="stretch", size=16))
    assert result.flags.c_contiguous
    assert result.tolist() == flipped.tolist()
