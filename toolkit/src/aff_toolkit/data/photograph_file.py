"""A photograph's file, from the disk to upright RGB pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_shared.images.decoding import ImageLimits, decode_image
from aff_toolkit.data.read_photograph import read_photograph

_LIMITS = ImageLimits()


def load_photograph_file(path: Path, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode a file to (H, W, 3) uint8 upright RGB.

    Args:
        path: An image of a supported format.
        min_side: Side of the largest encoder input; a large JPEG is then decoded at a reduced size, as the gallery
            indexer does it.

    Raises:
        PhotographUnreadableError: The file is missing, may not be read, or is not a regular file.
        ImageError: One of its subclasses says what is wrong with the image.
    """
    return decode_image(read_photograph(path), _LIMITS, min_side=min_side, name=str(path)).pixels


def load_below(root: str, name: str, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode the file `name` of the folder `root`: see load_photograph_file.

    A list of millions of photographs holds one partial of this function per photograph; that shares `root`, and a
    path is built only when it is needed. A name that Windows wrote, with backslashes, is found too.
    """
    path = Path(root, name)
    if "\\" in name and not path.exists():
        path = Path(root, name.replace("\\", "/"))
    return load_photograph_file(path, min_side)
