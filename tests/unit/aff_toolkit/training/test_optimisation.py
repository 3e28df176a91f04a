"""The optimiser loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aff_toolkit.training.optimisation import TrainingDivergedError, optimise
from aff_toolkit.training.recipe import OptimisationSection

SECTION = OptimisationSection(epochs=60, batch_size=4, learning_rate=0.3, weight_decay=0.0)
X = torch.linspace(-1, 1, 8)[:, None]
Y = 3.0 * X - 0.5


def batches() -> list[torch.Tensor]:
    return list(torch.arange(8).split(4))


def nothing(*_: object) -> None:
    pass


def test_it_fits_a_line() -> None:
    line = nn.Linear(1, 1)
    optimise(
        line,
        batches,
        lambda rows: {"squares": (line(X[rows]) - Y[rows]).square().mean()},
        SECTION,
        after_step=nothing,
        after_epoch=nothing,
    )
    assert line.weight.item() == pytest.approx(3.0, abs=0.05)
    assert line.bias.item() == pytest.approx(-0.5, abs=0.05)


def test_it_minimises_the_sum_of_the_losses_and_tells_the_mean_of_each() -> None:
    value = nn.Parameter(torch.tensor([0.0]))
    told: list[tuple[int, dict[str, float]]] = []
    steps: list[int] = []
    optimise(
        nn.ParameterList([value]),
        batches,
        lambda rows: {
            "first": (value - 1.0).square().sum(),
            "second": (value - 3.0).square().sum(),
            "row": rows.float().mean() + 0.0 * value.sum(),
        },
        SECTION,
        after_step=lambda: steps.append(1),
        after_epoch=lambda epoch, losses: told.append((epoch, losses)),
    )
    assert value.item() == pytest.approx(2.0, abs=0.02)
    assert [epoch for epoch, _ in told] == list(range(1, 61))
    assert len(steps) == 120
    assert told[0][1]["row"] == pytest.approx((1.5 + 5.5) / 2)
    assert told[-1][1]["first"] == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training_and_names_the_step(bad: float) -> None:
    line = nn.Linear(1, 1)
    before = line.weight.item()
    with pytest.raises(TrainingDivergedError, match="step 0 of epoch 1"):
        optimise(
            line,
            batches,
            lambda rows: {"bad": line(X[rows]).sum() * bad},
            SECTION,
            after_step=nothing,
            after_epoch=nothing,
        )
    assert line.weight.item() == before


@pytest.mark.parametrize(("autocast", "expected"), [("none", torch.float32), ("bfloat16", torch.bfloat16)])
def test_the_section_chooses_the_numbers_that_the_network_runs_in(autocast: str, expected: torch.dtype) -> None:
    line, seen = nn.Linear(1, 1), []

    def losses_of(rows: torch.Tensor) -> dict[str, torch.Tensor]:
        output = line(X[rows])
        seen.append(output.dtype)
        return {"squares": output.float().square().mean()}

    section = SECTION.model_copy(update={"autocast": autocast, "epochs": 1})
    optimise(line, batches, losses_of, section, after_step=nothing, after_epoch=nothing)
    assert set(seen) == {expected}
