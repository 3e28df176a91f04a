"""Instances as labels."""

from __future__ import annotations

import numpy as np
import pytest

from aff_toolkit.data.instances import number_instances, single_image_instances, without_single_images
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TooFewImagesError


def photographs(*instances: str) -> list[Photograph]:
    return [Photograph(str(i), name, lambda: np.zeros((1, 1, 3), np.uint8)) for i, name in enumerate(instances)]


def test_labels_number_the_sorted_names() -> None:
    labels, names = number_instances(["pear", "apple", "pear"])
    assert labels.tolist() == [1, 0, 1]
    assert labels.dtype == np.int64
    assert names == ["apple", "pear"]


def test_instances_of_one_image_are_found_and_left_out() -> None:
    assert single_image_instances(["b", "a", "b", "c"]) == ["a", "c"]
    kept, left_out = without_single_images(photographs("b", "a", "b", "c"))
    assert [photograph.name for photograph in kept] == ["0", "2"]
    assert left_out == ["a", "c"]


def test_labels_that_never_repeat_are_refused() -> None:
    with pytest.raises(TooFewImagesError, match="none of the 3 instances"):
        without_single_images(photographs("a", "b", "c"))
