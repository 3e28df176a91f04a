"""What the use case needs of a query encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray


class QueryEncoder(Protocol):
    """Turns photographs into query embeddings; callable from several threads at once."""

    @property
    def decode_min_side(self) -> int:
        """Side of the input, in pixels; a photograph need not be decoded much larger."""
        ...

    @property
    def precision(self) -> Literal["fp32", "int8"]:
        """Of the model's numbers."""
        ...

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed (H, W, 3) uint8 upright RGB photographs of any sizes: (B, D) float32, unit length.

        Raises:
            EncoderError: The model failed, or gave no unit vector.
        """
        ...
