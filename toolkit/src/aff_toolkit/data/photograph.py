"""One photograph of a training set, a query set or a gallery, decoded or rendered when asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Load = Callable[[], NDArray[np.uint8]]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph that is not in memory yet.

    Attributes:
        name: Unique in its list: a path relative to the list's root, or what it was rendered from.
        instance: Name of the thing that it shows; photographs of equal instances are positives of each other.
        load: Gives (H, W, 3) uint8 upright RGB; raises AffError where the photograph cannot be read.
        payload: What else its source says about it.
    """

    name: str
    instance: str
    load: Load
    payload: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
