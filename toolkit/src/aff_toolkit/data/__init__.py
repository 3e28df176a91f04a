"""Where labelled and unlabelled photographs come from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Base of everything that a recipe or a description in a file contains: frozen, without unknown settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")
