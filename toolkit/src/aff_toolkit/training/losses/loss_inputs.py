"""What every compatibility loss sees of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


@dataclass(frozen=True, slots=True)
class LossInputs:
    """A batch in the embedding space.

    The caller decides where gradients go: decoupled, `g` is detached and `prototypes` is the buffer w_q; coupled, both
    carry gradients. A loss detaches neither.

    Attributes:
        q: (B, D) float32, unit length: embeddings of the query encoder.
        g: (B, D) float32, unit length: embeddings of the mixer for the same photographs.
        prototypes: (C, D) float32, of any length.
        labels: (B,) int64 in [0, C).
    """

    q: Tensor
    g: Tensor
    prototypes: Tensor
    labels: Tensor


class LossSettings(BaseModel):
    """Base of the settings of a loss.

    Attributes:
        weight: Factor of the loss in the sum.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")

    weight: float = Field(default=1.0, gt=0)
