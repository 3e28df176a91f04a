"""The training loop: exact resume, divergence, accumulation, validation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from accelerate.accelerator import Accelerator
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import Dataset

from aff_toolkit.errors import (
    CheckpointError,
    CheckpointMismatchError,
    CheckpointNotWrittenError,
    TooFewPhotographsError,
    TrainingDivergedError,
)
from aff_toolkit.training.engine.optimisation import OptimisationSection, Side, Trainable, TrainingPlan
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import Batch, generator_of, shuffled_batches
from aff_toolkit.training.engine.work_directory import LOG_NAME, TrainingLog
from tests.support.full_disk import no_file_beyond

PHOTOGRAPHS = 24


class KilledError(Exception):
    """Stands for a kill in the middle of a step."""


class Line(Trainable):
    """Fits a linear map to the sum of the pixels, with dropout and noise, so that it needs randomness."""

    def __init__(self, killed_at: int | None = None, broken_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(12, 1)
        self.dropout = nn.Dropout(0.3)
        self.calls = 0
        self.after_steps = 0
        self.killed_at = killed_at
        self.broken_at = broken_at

    def sides(self) -> list[Side]:
        return [Side(list(self.parameters())), Side([])]

    def after_step(self) -> None:
        self.after_steps += 1

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == self.killed_at:
            raise KilledError
        noise = torch.rand(len(batch), 1, generator=torch.Generator().manual_seed(seed))
        found = self.linear(self.dropout(batch.pixels.float().flatten(1) / 255)) + 0.1 * noise
        loss = (found[:, 0] - batch.labels.float()).square().mean()
        return {"square": loss * float("nan") if self.calls == self.broken_at else loss, "size": 0.0 * loss + 1.0}


class Pair(Trainable):
    """Two numbers that pull equally at the loss."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.whole, self.part = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        self.share = share

    def sides(self) -> list[Side]:
        return [Side([]), Side([self.whole]), Side([self.part], self.share)]

    def after_step(self) -> None:
        pass

    def forward(self, batch: Batch, seed: int) -> dict[str, Tensor]:  # noqa: ARG002 - nothing is random here
        return {"sum": (self.whole + self.part).sum()}


class Photographs(Dataset[Batch]):
    def __getitem__(self, place: tuple[int, Tensor]) -> Batch:
        _, rows = place
        pixels = torch.randint(0, 256, (PHOTOGRAPHS, 2, 2, 3), generator=torch.Generator().manual_seed(3))
        return Batch(pixels[rows].to(torch.uint8), rows % 3, {})


def settings(**changes: object) -> OptimisationSection:
    return OptimisationSection.model_validate({"epochs": 4, "batch_size": 4, "learning_rate": 0.05} | changes)


def plan(directory: Path | None = None, **changes: object) -> TrainingPlan:
    section = changes.pop("section", settings(checkpoint_interval_steps=2))
    assert isinstance(section, OptimisationSection)
    return TrainingPlan(
        batches_of_epoch=lambda epoch: shuffled_batches(PHOTOGRAPHS, section.batch_size, generator_of(11, epoch)),
        training_set=Photographs(),
        section=section,
        seed=11,
        directory=directory,
        configuration={"classes": 3},
        **changes,
    )


def train(module: Line, directory: Path, **changes: object) -> list[dict[str, object]]:
    """Run a training with its log; return the log's lines."""
    log = TrainingLog(directory, Console(quiet=True))
    with log.stage("line", 24, "images") as stage:
        TrainingLoop(module, plan(directory / "checkpoints", **changes), Accelerator(), stage).run()
    return [json.loads(line) for line in (directory / LOG_NAME).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("killed_at", [1, 8, 13, 24])
def test_a_killed_training_resumes_exactly(tmp_path: Path, killed_at: int) -> None:
    whole = Line()
    expected = train(whole, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(Line(killed_at=killed_at), tmp_path / "killed")
    resumed = Line()
    assert train(resumed, tmp_path / "killed") == expected
    torch.testing.assert_close(resumed.linear.weight, whole.linear.weight, rtol=0, atol=0)


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    again = Line()
    train(again, tmp_path)
    assert again.calls == 0


def test_only_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-000000024"]


def test_the_loss_falls(tmp_path: Path) -> None:
    log = train(Line(), tmp_path, section=settings(epochs=20))
    epochs = [line["square"] for line in log if line["kind"] == "epoch"]
    assert len(epochs) == 20
    assert epochs[-1] < 0.7 * epochs[0]


def test_accumulated_batches_make_one_step(tmp_path: Path) -> None:
    module = Line()
    train(module, tmp_path, section=settings(accumulation=3))
    assert module.calls == 24
    assert module.after_steps == 8


def test_a_loss_that_is_not_a_number_names_its_step_and_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="square is nan at step 5 of 24") as caught:
        train(Line(broken_at=5), tmp_path)
    assert "step-000000004" in caught.value.detail
    assert (tmp_path / "checkpoints" / "step-000000004").is_dir()


def test_too_few_photographs_for_a_step_are_reported() -> None:
    with pytest.raises(TooFewPhotographsError, match="fewer than the 100 photographs of one step"):
        TrainingLoop(Line(), plan(section=settings(batch_size=100)), Accelerator(), None).run()


def test_another_learning_rate_does_not_take_up_the_checkpoint(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    with pytest.raises(CheckpointMismatchError, match="another optimisation"):
        train(Line(), tmp_path, section=settings(learning_rate=0.1))


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    train(Line(), tmp_path)
    (tmp_path / "checkpoints" / "step-000000024" / "optimiser.pt").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match="Remove this directory") as caught:
        train(Line(), tmp_path)
    assert caught.value.item == str(tmp_path / "checkpoints" / "step-000000024")


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path) -> None:
    whole = Line()
    train(whole, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(Line(killed_at=8), tmp_path / "full")
    before = tmp_path / "full" / "checkpoints" / "step-000000006"
    with (
        no_file_beyond((before / "optimiser.pt").stat().st_size - 1),
        pytest.raises(CheckpointNotWrittenError) as caught,
    ):
        train(Line(), tmp_path / "full")
    assert caught.value.detail.endswith(f"Free some space and run it again: the training resumes from {before}")
    assert list(before.parent.iterdir()) == [before]
    resumed = Line()
    train(resumed, tmp_path / "full")
    torch.testing.assert_close(resumed.linear.weight, whole.linear.weight, rtol=0, atol=0)


def test_damaged_best_weights_are_named(tmp_path: Path) -> None:
    train(Line(), tmp_path, validate=lambda: {"asymmetric_map": 0.5})
    best = tmp_path / "checkpoints" / "best.safetensors"
    best.write_bytes(best.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="Remove its directory to restart the stage") as caught:
        train(Line(), tmp_path, validate=lambda: {"asymmetric_map": 0.5})
    assert caught.value.item == str(best)


def test_the_best_weights_are_left_in_the_module(tmp_path: Path) -> None:
    module, seen = Line(), []

    def validate() -> dict[str, float]:
        assert not module.training
        seen.append(module.linear.weight.detach().clone())
        return {"asymmetric_map": [0.05, 0.1, 0.9, 0.4, 0.2][len(seen) - 1]}

    log = train(module, tmp_path, validate=validate)
    assert [line["asymmetric_map"] for line in log if line["kind"] == "validation"] == [0.05, 0.1, 0.9, 0.4, 0.2]
    torch.testing.assert_close(module.linear.weight.detach(), seen[2], rtol=0, atol=0)


def test_the_weights_of_the_start_are_kept_where_no_later_ones_are_better(tmp_path: Path) -> None:
    module, figures = Line(), iter([0.5, 0.4, 0.5, 0.3, 0.2])
    start = module.linear.weight.detach().clone()
    train(module, tmp_path, validate=lambda: {"asymmetric_map": next(figures)})
    torch.testing.assert_close(module.linear.weight.detach(), start, rtol=0, atol=0)


def test_a_training_that_was_killed_keeps_the_best_weights_from_before(tmp_path: Path) -> None:
    module, before, after = Line(killed_at=8), iter([0.1, 0.9]), iter([0.4, 0.2, 0.3])
    with pytest.raises(KilledError):
        train(module, tmp_path, validate=lambda: {"asymmetric_map": next(before)})
    log = train(Line(), tmp_path, validate=lambda: {"asymmetric_map": next(after)})
    validations = [(line["step"], line["asymmetric_map"]) for line in log if line["kind"] == "validation"]
    assert validations == [(0, 0.1), (6, 0.9), (12, 0.4), (18, 0.2), (24, 0.3)]


def test_stochastic_gradient_descent_in_bfloat16_learns_as_well(tmp_path: Path) -> None:
    section = settings(epochs=20, optimiser="sgd", decay="linear", precision="bf16")
    log = train(Line(), tmp_path, section=section)
    epochs = [line["square"] for line in log if line["kind"] == "epoch"]
    assert epochs[-1] < 0.7 * epochs[0]


def test_threads_read_the_same_batches_in_the_same_order(tmp_path: Path) -> None:
    alone, several = (
        train(Line(), tmp_path / str(threads), section=settings(epochs=1, reading_threads=threads))[0]["square"]
        for threads in (1, 3)
    )
    assert alone == several


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("share", [1.0, 0.25, 0.0])
def test_a_side_learns_at_its_share_of_the_learning_rate(optimiser: str, share: float) -> None:
    pair = Pair(share)
    section = settings(epochs=3, optimiser=optimiser, weight_decay=0.0)
    TrainingLoop(pair, plan(section=section), Accelerator(), None).run()
    assert pair.whole.item() < -0.01
    assert pair.part.item() == pytest.approx(share * pair.whole.item(), rel=1e-5)
