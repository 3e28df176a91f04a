"""A measured figure with its spread, and the goal that it is held to."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Figure(BaseModel):
    """A figure of several repetitions.

    Attributes:
        median: Of the repetitions.
        low: The least.
        high: The largest.
        repetitions: How many there were.
        unit: Such as ms; empty for a ratio.
        goal: That the median is held to; None for a figure that only informs.
        sense: Whether the goal is a least or a largest value.
        note: What there is to say of it; where the goal is missed, the reason.
    """

    model_config = ConfigDict(frozen=True)

    median: float
    low: float
    high: float
    repetitions: int
    unit: str = ""
    goal: float | None = None
    sense: Literal["at least", "at most"] = "at least"
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return self.median >= self.goal if self.sense == "at least" else self.median <= self.goal


def figure(
    values: Sequence[float],
    *,
    unit: str = "",
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Sum up repetitions.

    Args:
        values: One of each repetition, at least one.
        unit: Such as ms; empty for a ratio.
        at_least: Goal of a figure that should be large.
        at_most: Goal of a figure that should be small; not both.
        note: What there is to say of it.
    """
    return Figure(
        median=statistics.median(values),
        low=min(values),
        high=max(values),
        repetitions=len(values),
        unit=unit,
        goal=at_least if at_least is not None else at_most,
        sense="at least" if at_most is None else "at most",
        note=note,
    )


def ratio_of(
    first: Sequence[float],
    second: Sequence[float],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    note: str = "",
) -> Figure:
    """Return `first_over_second`, of repetitions that were measured in turn: each pair gives one ratio."""
    pairs = [one / other for one, other in zip(first, second, strict=True)]
    return figure(pairs, at_least=at_least, at_most=at_most, note=note)
