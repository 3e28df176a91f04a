"""Answers of the health endpoints, and the ids of requests."""

from __future__ import annotations

import random
import re
from contextvars import ContextVar
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aff_shared.schemas import examples
from aff_shared.schemas.embedding_space import Sha256


class Health(BaseModel):
    """Response of `GET /healthz`: the process is running."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.HEALTH))

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Response of `GET /readyz`: the service can process requests.

    Attributes:
        bundle: Name of the bundle that it uses.
        fingerprint: Fingerprint of this bundle.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.READINESS))

    status: Literal["ready"] = "ready"
    bundle: str
    fingerprint: Sha256


REQUEST_ID_HEADER = "X-Request-Id"
REQUEST_ID_PARAMETER = {
    "name": REQUEST_ID_HEADER,
    "in": "header",
    "required": False,
    "description": "Id of the request in the response and in the log.",
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$", "examples": ["import-2024-07-01.17"]},
}
"""OpenAPI's description of the header."""

_BITS = 128
_ids = random.Random(random.SystemRandom().getrandbits(_BITS))
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,128}")

current_request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Id of the current request; None outside of one."""


def new_request_id() -> str:
    """Return a new unique id; it is not secret.

    It does not use the system's random bytes: that releases the interpreter lock, which other threads of a busy service
    hold for a millisecond.
    """
    return f"{_ids.getrandbits(_BITS):032x}"


def accepted_request_id(given: str | None) -> str:
    """Return the caller's id if it is safe to log, otherwise a new one."""
    return given if given is not None and _ACCEPTED.fullmatch(given) else new_request_id()
