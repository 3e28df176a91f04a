"""What the indexing side needs of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """What an encoder makes of a photograph.

    Attributes:
        embedding: (D,) float32, unit length.
        extractors: Names of the extractors that found something in it, in the bundle's order.
    """

    embedding: NDArray[np.float32]
    extractors: tuple[str, ...]


class ImageEncoder(Protocol):
    """Embeds batches of photographs. It is called from one thread, never from two at a time."""

    @property
    def decode_min_side(self) -> int:
        """Pixels of the shorter side below which a photograph must not be reduced while it is decoded."""
        ...

    def encode_images(self, images: Sequence[NDArray[np.uint8]], /) -> Sequence[EncodedImage]:
        """Embed (H, W, 3) uint8 upright RGB photographs of any sizes, one by one in order."""
        ...
