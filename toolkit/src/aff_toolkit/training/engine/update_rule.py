"""How the query side follows the shared classifier (Wu et al., CVPR 2023)."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class UpdateRule(BaseModel):
    """Which prototypes and targets the query encoder learns from, and where its gradient ends.

    Attributes:
        kind: `momentum`: the query encoder learns from w_q, which follows w_mix and receives no gradient, and its
            gradient never reaches the mixer. `coupled`: it learns from w_mix itself, and its gradient reaches w_mix
            and the mixer. `two_stage`: mixer and w_mix are trained first; then the query encoder, against both frozen.
            `gallery_only`: mixer and w_mix are trained, and the query encoder keeps the weights that it starts with.
        alpha: Share of w_q that a step of `momentum` keeps; 0 copies w_mix after every step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["momentum", "coupled", "two_stage", "gallery_only"] = "momentum"
    alpha: float = Field(default=0.99, ge=0, le=1)
