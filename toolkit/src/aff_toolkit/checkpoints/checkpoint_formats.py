"""The checkpoint formats that can be converted; a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping

from aff_toolkit.checkpoints.checkpoint_format import CheckpointFormat

_FORMATS: tuple[CheckpointFormat, ...] = ()

CHECKPOINT_FORMATS: Mapping[str, CheckpointFormat] = {one.name: one for one in _FORMATS}
