"""The checkpoint formats that can be converted; a new one is one line here."""

from __future__ import annotations

from collections.abc import Mapping

from aff_toolkit.errors import UnknownFormatError
from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.cvnet import CVNET_FORMATS
from aff_toolkit.weights.formats.delg import DELG_FORMATS
from aff_toolkit.weights.formats.dolg import DOLG_FORMATS
from aff_toolkit.weights.formats.gem import GEM_FORMATS
from aff_toolkit.weights.formats.how import HOW_FORMATS
from aff_toolkit.weights.formats.token_aggregation import TOKEN_FORMATS

_FORMATS: tuple[CheckpointFormat, ...] = (
    *DELG_FORMATS,
    *DOLG_FORMATS,
    *CVNET_FORMATS,
    *TOKEN_FORMATS,
    *GEM_FORMATS,
    *HOW_FORMATS,
)

CHECKPOINT_FORMATS: Mapping[str, CheckpointFormat] = {one.name: one for one in _FORMATS}


def format_named(name: str) -> CheckpointFormat:
    """Return the format of that name.

    Raises:
        UnknownFormatError: There is none; names those that there are.
    """
    if name not in CHECKPOINT_FORMATS:
        raise UnknownFormatError(f"there is no such format; there are {', '.join(CHECKPOINT_FORMATS)}", item=name)
    return CHECKPOINT_FORMATS[name]
