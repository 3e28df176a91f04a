"""What can be wrong with a checkpoint that others released.

```
ForeignCheckpointError            422  foreign_checkpoint_unusable
├── UnreadableCheckpointError     422  foreign_checkpoint_unreadable
├── UnknownFormatError            422  foreign_checkpoint_format_unknown
├── CheckpointKeysError           422  foreign_checkpoint_keys
└── ConvertedNotWrittenError      507  converted_not_written
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class ForeignCheckpointError(AffError):
    """A checkpoint cannot be converted."""

    code = "foreign_checkpoint_unusable"
    status = 422
    title = "Unusable checkpoint of others"


class UnreadableCheckpointError(ForeignCheckpointError):
    """The file is damaged, is no checkpoint, or holds code."""

    code = "foreign_checkpoint_unreadable"
    title = "Unreadable checkpoint of others"


class UnknownFormatError(ForeignCheckpointError):
    """No format of that name is known."""

    code = "foreign_checkpoint_format_unknown"
    title = "Unknown checkpoint format"


class CheckpointKeysError(ForeignCheckpointError):
    """Names or shapes of the weights are not those of the format."""

    code = "foreign_checkpoint_keys"
    title = "Weights of another network"


class ConvertedNotWrittenError(ForeignCheckpointError):
    """The disk is full or refuses."""

    code = "converted_not_written"
    status = 507
    title = "Converted weights not written"
