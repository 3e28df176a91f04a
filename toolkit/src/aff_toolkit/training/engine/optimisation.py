"""What a training loop optimises and how: settings, parameters, optimiser, learning rate, statistics."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate.accelerator import Accelerator
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from aff_toolkit.training.engine.training_set import Batch


class OptimisationSection(BaseModel):
    """Settings of one stage; a step takes `batch_size` photographs x `accumulation` x processes.

    Attributes:
        epochs: Passes over the photographs.
        batch_size: Photographs of one forward pass in one process.
        accumulation: Forward passes whose gradients are summed up before a step.
        optimiser: `adamw` (Loshchilov and Hutter, 2019), or `sgd` with momentum, which the paper takes.
        learning_rate: At the end of the warm-up.
        weight_decay: Of the optimiser.
        sgd_momentum: Of `sgd`.
        warm_up_share: Share of all steps over which the learning rate rises from 0.
        decay: How it falls to 0 afterwards.
        max_gradient_norm: The gradients of each side, gallery and query, are clipped to it, each on its own.
        precision: `bf16` runs the forward pass in bfloat16 where torch deems it safe.
        reading_threads: Threads that read batches ahead of the step; up to twice as many batches wait in memory.
        validation_interval_epochs: Epochs between two validations.
        checkpoint_interval_steps: Steps between two checkpoints; one is written after every epoch in any case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    """Parameters whose gradients are clipped together.

    Attributes:
        parameters: Those that learn.
        learning_rate_share: Of the stage's learning rate.
    """

    parameters: list[nn.Parameter]
    learning_rate_share: float = 1.0


class Trainable(nn.Module, ABC):
    """What the loop trains: `forward` gives the losses of a batch, which are added up."""

    @abstractmethod
    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Return scalar losses by name; everything random in them follows from torch's seed and from `seed`."""

    @abstractmethod
    def sides(self) -> list[Side]:
        """Return the parameters that learn, in groups whose gradients are clipped apart."""

    @abstractmethod
    def after_step(self) -> None:
        """Called after every optimiser step."""


def learning_rate(section: OptimisationSection, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        section: Peak, warm-up and decay.
        step: Number of the step, from 0.
        steps: Steps of the whole training.
    """
    warm_up = round(section.warm_up_share * steps)
    if step < warm_up:
        return section.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(steps - warm_up, 1)
    falling = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "none": 1.0}
    return section.learning_rate * falling[section.decay]


def build_optimiser(sides: Sequence[Side], section: OptimisationSection) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov and Hutter, 2019), or SGD with momentum, with a group of parameters for each side."""
    groups = [{"params": side.parameters} for side in sides]
    if section.optimiser == "adamw":
        # One kernel for all parameters: beside light networks, a loop over them takes a tenth of a step.
        return torch.optim.AdamW(groups, lr=section.learning_rate, weight_decay=section.weight_decay, fused=True)
    return torch.optim.SGD(
        groups, lr=section.learning_rate, momentum=section.sgd_momentum, weight_decay=section.weight_decay
    )


@torch.no_grad()
def average_running_statistics(module: nn.Module, accelerator: Accelerator) -> None:
    """Set the running means and variances of the layers that learn to their averages over the processes.

    A process normalises its batches by their own statistics, as one that accumulates batches does, and keeps a running
    average of those. A model that is validated or saved takes what all processes have seen. Called by every process.

    Args:
        module: On the accelerator's device; layers in evaluation mode stay as they are.
        accelerator: Of the training.
    """
    if accelerator.num_processes == 1:
        return
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
            for statistic in (layer.running_mean, layer.running_var):
                if statistic is not None:
                    statistic.copy_(accelerator.reduce(statistic, reduction="mean"))
