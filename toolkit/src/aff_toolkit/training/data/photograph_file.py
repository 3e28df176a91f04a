"""A photograph's file, from the disk to upright RGB pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_contracts.image_decoding import ImageLimits, decode_image
from aff_toolkit.training.data.source_errors import PhotographUnreadableError

_LIMITS = ImageLimits()


def load_photograph_file(path: Path, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode a file to (H, W, 3) uint8 upright RGB.

    Args:
        path: An image of a supported format.
        min_side: Side of the largest encoder input; a large JPEG is then decoded at a reduced size, as the gallery
            indexer does it.

    Raises:
        PhotographUnreadableError: The file is missing or may not be read.
        ImageError: One of its subclasses says what is wrong with the image.
    """
    return decode_image(read_photograph_file(path), _LIMITS, min_side=min_side, name=str(path)).pixels


def read_photograph_file(path: Path) -> bytes:
    """Return the bytes of a photograph's file.

    Raises:
        PhotographUnreadableError: The file is missing or may not be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PhotographUnreadableError(f"cannot be read: {reason}", item=str(path)) from error


def load_below(root: str, name: str, min_side: int | None = None) -> NDArray[np.uint8]:
    """Decode the file `name` of the folder `root`: see load_photograph_file.

    A list of millions of photographs holds one partial of this function per photograph; that shares `root`, and a
    path is built only when it is needed.
    """
    return load_photograph_file(Path(root, name), min_side)
