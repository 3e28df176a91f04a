"""The precision that a bundle's weights are stored in; whatever it is, networks compute in float32."""

from __future__ import annotations

from typing import Literal

Stored = Literal["fp32", "fp16"]

# Numbers of a tensor, at most, that stays float32 under fp16. Such tensors, of which the first layers are made, weigh
# nothing, and what is rounded there goes through all that follows.
SMALL_TENSOR = 4_000
