"""What the indexing side needs of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class ImageEncoder(Protocol):
    """Embeds batches of photographs. It is called from one thread, never from two at a time."""

    @property
    def decode_min_side(self) -> int:
        """Pixels of the shorter side below which a photograph must not be reduced while it is decoded."""
        ...

    def encode(self, images: Sequence[NDArray[np.uint8]], /) -> NDArray[np.float32]:
        """Embed (H, W, 3) uint8 upright RGB photographs of any sizes: (B, D) float32, unit length."""
        ...
