"""What the training loop trains."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from aff_toolkit.training.engine.batch import Batch


@dataclass(frozen=True, slots=True)
class Side:
    """Parameters whose gradients are clipped together.

    Attributes:
        parameters: Those that learn.
        learning_rate_share: Of the stage's learning rate.
    """

    parameters: list[nn.Parameter]
    learning_rate_share: float = 1.0


class Trainable(nn.Module, ABC):
    """What the loop trains: `forward` gives the losses of a batch, which are added up."""

    @abstractmethod
    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return scalar losses by name; everything random in them follows from torch's seed and from `seed`."""

    @abstractmethod
    def sides(self) -> list[Side]:
        """Return the parameters that learn, in groups whose gradients are clipped apart."""

    @abstractmethod
    def after_step(self) -> None:
        """Called after every optimiser step."""
