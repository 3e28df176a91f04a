"""Settings that every service has: where it listens, and what it takes for a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings

from aff_contracts.web.access_settings import AccessSettings
from aff_contracts.web.observe_settings import ObserveSettings


class ListenSettings(BaseSettings):
    """How a service listens.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        head_timeout_s: Longest time in which the head of a request has to arrive; then the connection is closed.
        max_head_bytes: Largest head of a request.
        body_timeout_s: Longest time in which the body of a request has to arrive.
        max_body_bytes: Largest request body.
        access: Who may do what (`AFF_ACCESS_*`).
        observe: Logs and traces.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)]
    head_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    max_head_bytes: Annotated[int, Field(ge=1024)] = 65_536
    body_timeout_s: Annotated[float, Field(gt=0)]
    max_body_bytes: Annotated[int, Field(ge=1)]
    access: AccessSettings = Field(default_factory=AccessSettings)
    observe: ObserveSettings = Field(default_factory=ObserveSettings)
