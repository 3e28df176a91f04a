"""Instances as class labels, and what to do with instances of one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.errors import TooFewImagesError

_SHOWN = 3


def number_instances(instances: Sequence[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Number instances by their sorted names.

    Args:
        instances: Name of the instance of each of N photographs.

    Returns:
        Labels (N,) int64 in [0, C), and the C names.
    """
    names = sorted(set(instances))
    numbers = {name: number for number, name in enumerate(names)}
    return np.fromiter((numbers[instance] for instance in instances), np.int64, len(instances)), names


def single_image_instances(instances: Iterable[str]) -> list[str]:
    """Return the sorted names of the instances that have one image: no pair can be made of them."""
    return sorted(name for name, images in Counter(instances).items() if images == 1)


def without_single_images(photographs: Sequence[Photograph]) -> tuple[list[Photograph], list[str]]:
    """Leave out instances of one image.

    Returns:
        The photographs whose instance has two or more, and the sorted names of the instances that were left out.

    Raises:
        TooFewImagesError: Nothing would be left.
    """
    single = single_image_instances(photograph.instance for photograph in photographs)
    left_out = set(single)
    kept = [photograph for photograph in photographs if photograph.instance not in left_out]
    if not kept:
        shown = ", ".join(single[:_SHOWN])
        raise TooFewImagesError(
            f"none of the {len(single)} instances ({shown}, ...) has two images, so there is nothing to compare: give "
            "photographs of one thing the same instance, or train without labels",
            item=single[0] if single else None,
        )
    return kept, single
