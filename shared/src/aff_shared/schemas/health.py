"""Answers of the health endpoints."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from aff_shared.schemas import examples
from aff_shared.schemas.embedding_space import Sha256


class Health(BaseModel):
    """Answer of `GET /healthz`: the process runs."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.HEALTH))

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Answer of `GET /readyz`: the service can do its work now.

    Attributes:
        bundle: Name of the bundle that it works with.
        fingerprint: Of that bundle.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.READINESS))

    status: Literal["ready"] = "ready"
    bundle: str
    fingerprint: Sha256
