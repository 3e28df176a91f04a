"""What the training loop trains."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from aff_toolkit.training.batch import Batch


class Trainable(nn.Module, ABC):
    """What the loop trains: `forward` gives the losses of a batch, which are added up."""

    @abstractmethod
    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return scalar losses by name; everything random in them follows from torch's seed and from `seed`."""

    @abstractmethod
    def sides(self) -> list[list[nn.Parameter]]:
        """Give the parameters that learn, in groups whose gradients are clipped apart."""

    @abstractmethod
    def after_step(self) -> None:
        """Called after every optimiser step."""
