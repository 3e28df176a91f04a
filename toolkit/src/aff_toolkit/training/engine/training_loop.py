"""The training loop: batches, steps, checkpoints and validation, in one process or several.

All random choices of a step follow from the seed and the number of the batch. A training that was killed therefore
resumes exactly, and two processes take the same steps as one that accumulates two batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from accelerate.accelerator import Accelerator
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from aff_toolkit.errors import TooFewPhotographsError, TrainingDivergedError
from aff_toolkit.training.engine.checkpoints import Checkpoints, TrainingState
from aff_toolkit.training.engine.optimisation import (
    Trainable,
    TrainingPlan,
    Validate,
    average_running_statistics,
    build_optimiser,
    learning_rate,
)
from aff_toolkit.training.engine.training_set import Batch, read_ahead
from aff_toolkit.training.engine.work_directory import StageLog

SELECTED = "asymmetric_map"

_LOG_INTERVAL_STEPS = 10
_BATCH_SEED_STRIDE = 7_919


class TrainingLoop:
    """Trains a module in place."""

    def __init__(self, module: Trainable, plan: TrainingPlan, accelerator: Accelerator, log: StageLog | None) -> None:
        self._plan = plan
        self._section = plan.section
        self._accelerator = accelerator
        self._log = log if accelerator.is_main_process else None
        self._module: Trainable = module.to(accelerator.device)
        self._sides = [side for side in module.sides() if side.parameters]
        optimiser = build_optimiser(self._sides, plan.section)
        self._wrapped, self._optimiser = accelerator.prepare(self._module, optimiser)
        if isinstance(self._wrapped, DistributedDataParallel):
            # No buffer has to be broadcast at every step: w_q is equal in all processes, and average_running_statistics
            # averages batch statistics.
            self._wrapped.broadcast_buffers = False
        self._share: int = plan.section.accumulation * accelerator.num_processes
        self._epoch_steps: int = len(plan.batches_of_epoch(0)) // self._share
        self._pending: list[dict[str, Tensor]] = []
        self._checkpoints: Checkpoints | None = None

    @property
    def steps(self) -> int:
        """Number of optimiser steps of the stage."""
        return self._epoch_steps * self._section.epochs

    def run(self) -> int:
        """Train from the last checkpoint, if any, to the end, and load the best weights into the module.

        The initial weights are the first candidates.

        Returns:
            Number of steps after which the weights were saved.

        Raises:
            TooFewPhotographsError: There are fewer photographs than one step needs.
            TrainingDivergedError: A loss is NaN or infinite; names the step and the last good checkpoint.
            CheckpointError: A checkpoint cannot be read or written, or belongs to another configuration.
        """
        if not self._epoch_steps:
            needed = self._section.batch_size * self._share
            raise TooFewPhotographsError(
                f"there are fewer than the {needed} photographs of one step", item="batch_size"
            )
        state = self._restore()
        if self._plan.validate and state.step == 0:
            self._validate(state, self._plan.validate)
        self._module.train()
        for epoch in range(state.step // self._epoch_steps, self._section.epochs):
            done = state.step - epoch * self._epoch_steps
            for micro_batches in self._steps_of(epoch, done):
                self._step(state, micro_batches)
                self._after_step(state)
            self._end_epoch(state, epoch)
        self._accelerator.wait_for_everyone()
        if self._checkpoints is None or state.best_step is None:
            return state.step
        self._checkpoints.restore_best(self._module)
        return state.best_step

    def _restore(self) -> TrainingState:
        state = TrainingState()
        if self._plan.directory is not None:
            configuration = {
                **(self._plan.configuration or {}),
                "optimisation": self._section.model_dump(mode="json"),
                "seed": self._plan.seed,
                "processes": self._accelerator.num_processes,
            }
            self._checkpoints = Checkpoints(self._plan.directory, configuration)
            state = self._checkpoints.restore(self._module, self._optimiser)
        if self._log is not None:
            self._log.resume(state.step, self.steps)
        return state

    def _steps_of(self, epoch: int, done: int) -> Iterator[list[Batch]]:
        """Yield the batches of each remaining step of an epoch in this process."""
        batches = self._plan.batches_of_epoch(epoch)
        rank, processes = self._accelerator.process_index, self._accelerator.num_processes
        own = [batches[i] for i in range(rank, self._epoch_steps * self._share, processes)]
        own = own[done * self._section.accumulation :]
        device = self._accelerator.device

        def read(rows: Tensor) -> Batch:
            batch = self._plan.training_set[(epoch, rows)]
            return batch.pin_memory() if device.type == "cuda" else batch

        micro_batches: list[Batch] = []
        for batch in read_ahead(read, own, threads=self._section.reading_threads):
            micro_batches.append(batch.to(device))
            if len(micro_batches) == self._section.accumulation:
                yield micro_batches
                micro_batches = []

    def _step(self, state: TrainingState, micro_batches: list[Batch]) -> None:
        rate = learning_rate(self._section, state.step, self.steps)
        for group, side in zip(self._optimiser.param_groups, self._sides, strict=True):
            group["lr"] = rate * side.learning_rate_share
        self._optimiser.zero_grad(set_to_none=True)
        for number, batch in enumerate(micro_batches):
            seed = self._batch_seed(state.step, number)
            torch.manual_seed(seed)
            last = number + 1 == len(micro_batches)
            with nullcontext() if last else self._accelerator.no_sync(self._wrapped):
                with self._precision():
                    losses = self._wrapped(batch, seed)
                self._accelerator.backward(torch.stack(list(losses.values())).sum() / len(micro_batches))
            self._pending.append({name: loss.detach() / len(micro_batches) for name, loss in losses.items()})
        for side in self._sides:
            self._accelerator.clip_grad_norm_(side.parameters, self._section.max_gradient_norm)
        self._optimiser.step()
        self._module.after_step()
        state.step += 1
        if self._log is not None:
            self._log.advance(items=self._section.batch_size * self._share)

    def _precision(self) -> torch.autocast:
        # Not the accelerator's mixed precision: one process may run stages of different precision.
        enabled = self._section.precision == "bf16"
        return torch.autocast(self._accelerator.device.type, dtype=torch.bfloat16, enabled=enabled)

    def _batch_seed(self, step: int, micro_batch: int) -> int:
        """Return a seed that depends on the batch's number in the training, and not on the number of processes."""
        place = (step * self._section.accumulation + micro_batch) * self._accelerator.num_processes
        return self._plan.seed * _BATCH_SEED_STRIDE + int(place + self._accelerator.process_index)

    def _after_step(self, state: TrainingState) -> None:
        if state.step % _LOG_INTERVAL_STEPS == 0:
            self._read_losses(state)
        interval = self._section.checkpoint_interval_steps
        ends_epoch = state.step % self._epoch_steps == 0
        if interval is not None and state.step % interval == 0 and not ends_epoch:
            average_running_statistics(self._module, self._accelerator)
            self._save(state)

    def _end_epoch(self, state: TrainingState, epoch: int) -> None:
        self._read_losses(state)
        if self._log is not None and state.sums:
            means = {name: value / self._epoch_steps for name, value in state.sums.items()}
            self._log.write("epoch", state.step, {"epoch": epoch + 1, **means})
        state.sums = {}
        last = epoch + 1 == self._section.epochs
        average_running_statistics(self._module, self._accelerator)
        if self._plan.validate and (last or (epoch + 1) % self._section.validation_interval_epochs == 0):
            self._validate(state, self._plan.validate)
        self._save(state)

    def _validate(self, state: TrainingState, validate: Validate) -> None:
        if not self._accelerator.is_main_process:
            return
        self._module.eval()
        figures = validate()
        self._module.train()
        if self._log is not None:
            self._log.write("validation", state.step, figures)
        if state.best is None or figures[SELECTED] > state.best:
            state.best, state.best_step = figures[SELECTED], state.step
            if self._checkpoints is not None:
                self._checkpoints.save_best(self._module)

    def _save(self, state: TrainingState) -> None:
        if self._checkpoints is None:
            return
        self._read_losses(state)
        if self._accelerator.is_main_process:
            self._checkpoints.save(state, self._module, self._optimiser)
        self._accelerator.wait_for_everyone()

    def _read_losses(self, state: TrainingState) -> None:
        """Copy the losses of the last steps to the host, where they are checked, summed and logged."""
        if not self._pending:
            return
        names = list(self._pending[0])
        values = torch.stack([torch.stack([losses[name].float() for name in names]) for losses in self._pending])
        values = self._accelerator.reduce(values, reduction="mean")
        per_step = values.view(-1, self._section.accumulation, len(names)).sum(dim=1).tolist()
        self._pending = []
        for step, losses in enumerate(per_step, start=state.step - len(per_step) + 1):
            self._require_finite(step, dict(zip(names, losses, strict=True)))
            for name, value in zip(names, losses, strict=True):
                state.sums[name] = state.sums.get(name, 0.0) + value
        if self._log is not None and state.step % _LOG_INTERVAL_STEPS == 0:
            self._log.write("step", state.step, dict(zip(names, per_step[-1], strict=True)))

    def _require_finite(self, step: int, losses: dict[str, float]) -> None:
        wrong = [f"{name} is {value}" for name, value in losses.items() if not math.isfinite(value)]
        if not wrong:
            return
        good = self._checkpoints.latest() if self._checkpoints is not None else None
        raise TrainingDivergedError(
            f"{', '.join(wrong)} at step {step} of {self.steps}. Lower the learning rate; the last good checkpoint is "
            f"{good or 'none'}",
            item=f"step {step}",
        )
