"""How long steps tell how far they are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Advance = Callable[[int], None]
Bar = Callable[[str, int], AbstractContextManager[Advance]]
