"""Checkpoints of one training stage: written atomically, and read only by the training that wrote them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from aff_toolkit.errors import CheckpointError, CheckpointMismatchError, CheckpointNotWrittenError

_MODULE, _OPTIMISER, _STATE, _BEST = "module.safetensors", "optimiser.pt", "state.json", "best.safetensors"
_PARTIAL = ".partial"


@dataclass(slots=True)
class TrainingState:
    """Progress of a training. With the seed it determines all random choices that follow.

    Attributes:
        step: Number of optimiser steps done.
        sums: Sum of each loss over the steps of the current epoch, by name.
        best: Best validation value so far; None before the first validation.
        best_step: Number of steps after which it was reached.
    """

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    best: float | None = None
    best_step: int | None = None


class Checkpoints:
    """Checkpoints of one stage in a directory that keeps the last checkpoint and the best weights."""

    def __init__(self, directory: Path, configuration: dict[str, Any]) -> None:
        self.directory = directory
        self._configuration = json.loads(json.dumps(configuration))
        directory.mkdir(parents=True, exist_ok=True)

    def latest(self) -> Path | None:
        """Return the last finished checkpoint."""
        finished = [path for path in self.directory.glob("step-*") if not path.name.endswith(_PARTIAL)]
        return max(finished, default=None)

    def save(self, state: TrainingState, module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
        """Write a checkpoint and remove the previous one.

        Raises:
            CheckpointNotWrittenError: The disk is full or not writable; the previous checkpoint remains.
        """
        final = self.directory / f"step-{state.step:09d}"
        if final.exists():
            return
        partial = final.with_name(final.name + _PARTIAL)
        before = self.latest()
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_model(module, str(partial / _MODULE))
            torch.save(optimiser.state_dict(), partial / _OPTIMISER)
            document = {"configuration": self._configuration, "state": asdict(state)}
            (partial / _STATE).write_text(json.dumps(document), encoding="utf-8")
            partial.rename(final)
        except (OSError, RuntimeError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise CheckpointNotWrittenError(
                f"{error}. Free some space and run it again: the training resumes from {before or 'its beginning'}",
                item=str(final),
            ) from error
        if before is not None:
            shutil.rmtree(before, ignore_errors=True)

    def restore(self, module: nn.Module, optimiser: torch.optim.Optimizer) -> TrainingState:
        """Load the last checkpoint, if any, into both, and return its state.

        Raises:
            CheckpointMismatchError: It was written with other settings; names those that differ.
            CheckpointError: It cannot be read.
        """
        path = self.latest()
        if path is None:
            return TrainingState()
        try:
            document = json.loads((path / _STATE).read_text(encoding="utf-8"))
            self._require_same(document["configuration"], path)
            load_model(module, path / _MODULE)
            optimiser.load_state_dict(torch.load(path / _OPTIMISER, weights_only=True))
            return TrainingState(**document["state"])
        except CheckpointMismatchError:
            raise
        except Exception as error:  # torch, safetensors and json raise various errors on damaged files
            raise CheckpointError(
                f"cannot be read: {error}. Remove this directory to restart the stage", item=str(path)
            ) from error

    def save_best(self, module: nn.Module) -> None:
        """Save these weights as the best ones.

        Raises:
            CheckpointNotWrittenError: The disk is full or not writable.
        """
        partial = self.directory / (_BEST + _PARTIAL)
        try:
            save_model(module, str(partial))
            partial.rename(self.directory / _BEST)
        except (OSError, SafetensorError) as error:
            partial.unlink(missing_ok=True)
            raise CheckpointNotWrittenError(f"{error}. Free some space and run it again", item=str(partial)) from error

    def restore_best(self, module: nn.Module) -> None:
        """Load the best weights, if a validation has chosen any.

        Raises:
            CheckpointError: They cannot be read.
        """
        path = self.directory / _BEST
        if not path.exists():
            return
        try:
            load_model(module, path)
        except (OSError, RuntimeError, SafetensorError) as error:
            detail = f"cannot be read: {error}. Remove its directory to restart the stage"
            raise CheckpointError(detail, item=str(path)) from error

    def _require_same(self, found: dict[str, Any], path: Path) -> None:
        names = sorted({*found, *self._configuration})
        differing = [name for name in names if found.get(name) != self._configuration.get(name)]
        if differing:
            raise CheckpointMismatchError(
                f"was written with another {', '.join(differing)}. Use another work directory, or remove this one",
                item=str(path),
            )
