"""What can go wrong in a training, apart from its data.

```
TrainingError                     500  training_failed
├── TrainingDivergedError         500  training_diverged
├── TooFewPhotographsError        422  too_few_photographs
├── TrainingNotWrittenError       507  training_not_written
└── CheckpointError               500  checkpoint_unusable
    ├── CheckpointMismatchError   409  checkpoint_mismatch
    └── CheckpointNotWrittenError 507  checkpoint_not_written
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class TrainingError(AffError):
    """A training cannot go on."""

    code = "training_failed"
    title = "Training failed"


class TrainingDivergedError(TrainingError):
    """The loss is no longer a finite number."""

    code = "training_diverged"
    title = "Training diverged"


class TooFewPhotographsError(TrainingError):
    """The training set does not fill one step."""

    code = "too_few_photographs"
    status = 422
    title = "Too few photographs"


class TrainingNotWrittenError(TrainingError):
    """The disk is full or refuses."""

    code = "training_not_written"
    status = 507
    title = "Training not written"


class CheckpointError(TrainingError):
    """A checkpoint is damaged."""

    code = "checkpoint_unusable"
    title = "Unusable checkpoint"


class CheckpointMismatchError(CheckpointError):
    """A checkpoint was written by a training with other settings."""

    code = "checkpoint_mismatch"
    status = 409
    title = "Checkpoint of another configuration"


class CheckpointNotWrittenError(CheckpointError):
    """A checkpoint could not be written."""

    code = "checkpoint_not_written"
    status = 507
    title = "Checkpoint not written"
