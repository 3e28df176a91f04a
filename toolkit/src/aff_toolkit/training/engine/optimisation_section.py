"""How a training stage takes its steps: settings of the training loop."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
