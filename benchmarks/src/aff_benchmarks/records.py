"""Base classes of settings and results."""

from pydantic import BaseModel, ConfigDict


class FrozenModel(BaseModel):
    """An immutable record with a JSON form: settings or results."""

    model_config = ConfigDict(frozen=True)


class StrictModel(FrozenModel):
    """A FrozenModel without unknown fields."""

    model_config = ConfigDict(extra="forbid")
