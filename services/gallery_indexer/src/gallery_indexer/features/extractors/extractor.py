"""The interface of a frozen extractor, and the features that it returns."""

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
        strengths: (B, n) float32, by which the tokens were selected, in falling order; rows without a token are zero.
            None for a global feature, and for extractors without strengths.
    """

    values: Tensor
    mask: Tensor
    positions: Tensor | None = None
    strengths: Tensor | None = None

    @classmethod
    def from_global(cls, values: Tensor) -> FeatureBatch:
        """Wrap a global feature of shape (B, d); a row of zeros represents an image in which nothing was found."""
        return cls(values[:, None], values.any(dim=1, keepdim=True))

    def to(self, device: torch.device, *, non_blocking: bool = False) -> FeatureBatch:
        """Return the batch on `device`; `non_blocking` copies asynchronously from pinned memory to a GPU."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> FeatureBatch:
        """Return the batch in pinned memory, from which a GPU can copy asynchronously."""
        return self._each(Tensor.pin_memory)

    def _each(self, function: Callable[[Tensor], Tensor]) -> FeatureBatch:
        optional = (None if tensor is None else function(tensor) for tensor in (self.positions, self.strengths))
        return FeatureBatch(function(self.values), function(self.mask), *optional)


class Extractor(Protocol):
    """A frozen, deterministic extractor of features from images."""

    @property
    def spec(self) -> ExtractorSpec:
        """Names and sizes of the features, and the preprocessing."""
        ...

    def extract(self, images: Images) -> Mapping[str, FeatureBatch]:
        """Extract the features of a batch.

        Args:
            images: Photographs (H, W, 3) uint8 upright RGB, of any sizes; the extractor preprocesses them.

        Returns:
            A batch per feature of `spec.features`, by name.
        """
        ...
