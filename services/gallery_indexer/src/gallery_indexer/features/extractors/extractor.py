"""The Protocol of a frozen extractor, and the features that it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec

Images = Sequence[NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """One feature of a batch of images; a global feature is the case of one token.

    Attributes:
        values: (B, n, d) float32; rows without a token are zero.
        mask: (B, n) bool; True where there is a token.
        positions: (B, n, 2) float32, x then y of each token as shares of the image's width and height, in [0, 1]; rows
            without a token are zero. None for a global feature.
        strengths: (B, n) float32; by which the tokens were chosen, and fall from row to row; rows without a token are
            zero. None for a global feature, and where an extractor knows none.
    """

    values: Tensor
    mask: Tensor
    positions: Tensor | None = None
    strengths: Tensor | None = None

    @classmethod
    def from_global(cls, values: Tensor) -> FeatureBatch:
        """Wrap a global feature of shape (B, d); a row of zeros stands for an image in which nothing was found."""
        return cls(values[:, None], values.any(dim=1, keepdim=True))

    def to(self, device: torch.device, *, non_blocking: bool = False) -> FeatureBatch:
        """Return the batch on `device`; `non_blocking` is torch's own, and of use from pinned memory to a card."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> FeatureBatch:
        """Return the batch in memory from which a card copies while the host goes on."""
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> FeatureBatch:
        optional = (None if tensor is None else function(tensor) for tensor in (self.positions, self.strengths))
        return FeatureBatch(function(self.values), function(self.mask), *optional)


class Extractor(Protocol):
    """A frozen extractor: images in, features out; pure and deterministic."""

    @property
    def spec(self) -> ExtractorSpec:
        """Names, sizes and preprocessing of what the extractor gives."""
        ...

    def extract(self, images: Images) -> Mapping[str, FeatureBatch]:
        """Describe a batch.

        Args:
            images: Photographs (H, W, 3) uint8 upright RGB, of any sizes; the extractor brings them to its
                own input size.

        Returns:
            A batch per feature of `spec.features`, by its name.
        """
        ...
