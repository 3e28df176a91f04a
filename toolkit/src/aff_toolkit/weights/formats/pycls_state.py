"""Where pycls keeps the weights in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_EXPONENTS = ("pool.p", "pool_g.p")


def pycls_state(document: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, or of a file that holds nothing else; pooling exponents become scalars."""
    state: Mapping[str, Tensor] = document.get("model_state", document)
    exponents = {name: tensor.reshape(()) for name, tensor in state.items() if name.endswith(_EXPONENTS)}
    return {**state, **exponents}
