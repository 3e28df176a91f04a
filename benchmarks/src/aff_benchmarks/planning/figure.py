"""A number of a plan, and what it rests on."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

Basis = Literal["arithmetic", "measured", "assumed"]


class Figure(BaseModel):
    """One number.

    Attributes:
        key: For machines.
        name: For people.
        value: In `unit`.
        unit: For example bytes.
        basis: The weakest of what it rests on: `arithmetic` follows from the gallery alone, `measured` from a unit cost
            that was measured too, `assumed` from an assumption or a value that was given.
        how: What it was computed from.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    name: str
    value: float
    unit: str
    basis: Basis
    how: str
