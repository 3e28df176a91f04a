"""Optimisation of a training stage: settings, parameters, optimiser, learning rate, batch statistics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate.accelerator import Accelerator
from pydantic import Field
from torch import Tensor, nn
from torch.utils.data import Dataset

from aff_toolkit.data import Settings
from aff_toolkit.training.engine.training_set import Batch

Validate = Callable[[], dict[str, float]]


class OptimisationSection(Settings):
    """Settings of one stage; a step uses `batch_size` x `accumulation` x processes photographs.

    Attributes:
        epochs: Passes over the photographs.
        batch_size: Photographs per forward pass in one process.
        accumulation: Forward passes whose gradients are summed before a step.
        optimiser: `adamw` (Loshchilov and Hutter, 2019), or `sgd` with momentum, as in the paper.
        learning_rate: Learning rate at the end of the warm-up.
        weight_decay: Weight decay of the optimiser.
        sgd_momentum: Momentum of `sgd`.
        warm_up_share: Share of all steps during which the learning rate rises from 0.
        decay: Decay of the learning rate to 0 after the warm-up.
        max_gradient_norm: Maximum norm of the gradients, which are clipped separately for gallery side and query side.
        precision: `bf16` runs the forward pass in bfloat16 where torch's autocast does.
        reading_threads: Threads that read batches ahead; up to twice as many batches are kept in memory.
        validation_interval_epochs: Epochs between two validations.
        checkpoint_interval_steps: Steps between two checkpoints; every epoch also ends with one.
    """

    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    accumulation: int = Field(default=1, ge=1)
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.02, ge=0)
    sgd_momentum: float = Field(default=0.9, ge=0, lt=1)
    warm_up_share: float = Field(default=0.1, ge=0, lt=1)
    decay: Literal["cosine", "linear", "none"] = "cosine"
    max_gradient_norm: float = Field(default=5.0, gt=0)
    precision: Literal["fp32", "bf16"] = "fp32"
    reading_threads: int = Field(default=2, ge=1)
    validation_interval_epochs: int = Field(default=1, ge=1)
    checkpoint_interval_steps: int | None = Field(default=None, ge=1)


@dataclass(frozen=True, slots=True)
class Side:
    """Group of trained parameters whose gradients are clipped together; the learning rate is a share of the stage's."""

    parameters: list[nn.Parameter]
    learning_rate_share: float = 1.0


class Trainable(nn.Module, ABC):
    """Module that the training loop trains: `forward` returns the losses of a batch, which are summed."""

    @abstractmethod
    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return scalar losses by name; all random choices follow from torch's seed and from `seed`."""

    @abstractmethod
    def sides(self) -> list[Side]:
        """Return the trained parameters in groups whose gradients are clipped separately."""

    def after_step(self) -> None:
        """Update the module after an optimiser step."""


@dataclass(frozen=True)
class TrainingPlan:
    """Data and settings of a training stage.

    Attributes:
        batches_of_epoch: Function from the epoch's number, from 0, to its batches of row numbers, (B,) int64 each; the
            number of batches is the same in every epoch.
        training_set: Dataset that maps (epoch, rows) to a Batch.
        directory: Directory of the checkpoints; None writes none.
        configuration: JSON settings that have to match for a checkpoint to be resumed.
        validate: Function that returns figures of the current module; `asymmetric_map` selects the best weights.
    """

    batches_of_epoch: Callable[[int], Sequence[Tensor]]
    training_set: Dataset[Batch]
    section: OptimisationSection
    seed: int
    directory: Path | None = None
    configuration: dict[str, Any] | None = None
    validate: Validate | None = None


def learning_rate(section: OptimisationSection, step: int, steps: int) -> float:
    """Return the learning rate of a step, from 0, of `steps`: linear warm-up, then a decay to 0."""
    warm_up = round(section.warm_up_share * steps)
    if step < warm_up:
        return section.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(steps - warm_up, 1)
    falling = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "none": 1.0}
    return section.learning_rate * falling[section.decay]


def build_optimiser(sides: Sequence[Side], section: OptimisationSection) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter, 2019), or SGD with momentum, with one group of parameters per side."""
    groups = [{"params": side.parameters} for side in sides]
    if section.optimiser == "adamw":
        # One kernel for all parameters: with light networks, a loop over them takes a tenth of a step.
        return torch.optim.AdamW(groups, lr=section.learning_rate, weight_decay=section.weight_decay, fused=True)
    return torch.optim.SGD(
        groups, lr=section.learning_rate, momentum=section.sgd_momentum, weight_decay=section.weight_decay
    )


@torch.no_grad()
def average_running_statistics(module: nn.Module, accelerator: Accelerator) -> None:
    """Average the running means and variances of trained batch normalisations over the processes.

    A process normalises each batch by its own statistics, and keeps their running average. Validated and saved models
    use the average over all processes. Every process has to call this function. Layers in evaluation mode are not
    changed.
    """
    if accelerator.num_processes == 1:
        return
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
            for statistic in (layer.running_mean, layer.running_var):
                if statistic is not None:
                    statistic.copy_(accelerator.reduce(statistic, reduction="mean"))
