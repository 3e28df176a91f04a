"""The optimiser loop that every training shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from aff_contracts.errors import AffError
from aff_toolkit.training.recipe import OptimisationSection, RecipeError

_MAX_GRADIENT_NORM = 5.0
_WARM_UP_SHARE = 0.1

Losses = dict[str, Tensor]


class TrainingDivergedError(AffError):
    """The loss is no longer a finite number."""

    code = "training_diverged"
    title = "Training diverged"


def optimise(
    module: nn.Module,
    batches_of_epoch: Callable[[], Sequence[Tensor]],
    losses_of: Callable[[Tensor], Losses],
    section: OptimisationSection,
    *,
    after_step: Callable[[], None],
    after_epoch: Callable[[int, dict[str, float]], None],
) -> None:
    """Minimise the sum of the losses with AdamW and a one-cycle learning rate.

    Args:
        module: Holds every parameter that learns.
        batches_of_epoch: Gives the batches of an epoch, row numbers (B,) int64 each; always equally many.
        losses_of: Gives named scalar losses for a batch.
        section: Epochs, learning rate, weight decay, autocast.
        after_step: Called after every optimiser step.
        after_epoch: Called with the epoch's number, from 1, and the mean of each loss.

    Raises:
        RecipeError: There are fewer images than one batch holds.
        TrainingDivergedError: A loss is NaN or infinite; names the step.
    """
    batches = batches_of_epoch()
    steps = len(batches)
    if not steps:
        raise RecipeError(f"there are too few training images for a batch of {section.batch_size}", item="batch_size")
    optimiser = torch.optim.AdamW(module.parameters(), lr=section.learning_rate, weight_decay=section.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        max_lr=section.learning_rate,
        total_steps=steps * section.epochs,
        pct_start=_WARM_UP_SHARE,
    )
    module.train()
    for epoch in range(1, section.epochs + 1):
        if epoch > 1:
            batches = batches_of_epoch()
        sums: dict[str, float] = {}
        for step, rows in enumerate(batches):
            with _autocast(section):
                losses = losses_of(rows)
            total = torch.stack(list(losses.values())).sum()
            if not math.isfinite(total.item()):
                raise TrainingDivergedError(f"loss is {total.item()} at step {step} of epoch {epoch}")
            optimiser.zero_grad(set_to_none=True)
            total.backward()
            nn.utils.clip_grad_norm_(module.parameters(), _MAX_GRADIENT_NORM)
            optimiser.step()
            schedule.step()
            after_step()
            sums = {name: sums.get(name, 0.0) + loss.item() for name, loss in losses.items()}
        after_epoch(epoch, {name: value / steps for name, value in sums.items()})


def _autocast(section: OptimisationSection) -> AbstractContextManager[object]:
    if section.autocast == "none":
        return nullcontext()
    return torch.autocast("cpu", dtype=torch.bfloat16)
