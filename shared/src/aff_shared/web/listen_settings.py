"""Settings that every service has: where it listens, and what it takes for a request."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

from aff_shared.resource_limits import usable_memory
from aff_shared.web.access_settings import AccessSettings
from aff_shared.web.observe_settings import ObserveSettings

_ROOT_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")


def queued_bytes(most: int) -> int:
    """Return how many bytes of bodies a service holds at a time: an eighth of its memory, but no more than `most`."""
    return min(most, usable_memory() // 8)


class ListenSettings(BaseSettings):
    """How a service listens.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        root_path: Path below which a proxy shows the service, such as `/photos`; the proxy may take it off or pass it.
        keep_alive_timeout_s: How long a connection without requests stays open: longer than clients and proxies keep
            theirs, so that none of them sends a request into one that is being closed.
        head_timeout_s: Longest time in which the head of a request has to arrive; then the connection is closed.
        max_head_bytes: Largest head of a request.
        body_timeout_s: Longest time in which the body of a request has to arrive.
        max_body_bytes: Largest request body.
        max_queued_bytes: Bytes of all bodies that are read or worked on at the same time; more are answered with 429,
            unread, and told when to come back. A request that comes alone is always taken.
        max_queued_requests: Most requests with a body that are read or worked on at the same time; likewise.
        max_connections: Most open connections; behind all other limits, a request on a further one is answered with
            503.
        access: Who may do what (`AFF_ACCESS_*`).
        observe: Logs and traces.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)]
    root_path: str = ""
    keep_alive_timeout_s: Annotated[int, Field(ge=1)] = 75
    head_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    max_head_bytes: Annotated[int, Field(ge=1024)] = 65_536
    body_timeout_s: Annotated[float, Field(gt=0)]
    max_body_bytes: Annotated[int, Field(ge=1)]
    max_queued_bytes: Annotated[int, Field(ge=1)] = Field(default_factory=lambda: queued_bytes(128 * 2**20))
    max_queued_requests: Annotated[int, Field(ge=1)] = 256
    max_connections: Annotated[int, Field(ge=1)] = 2000
    access: AccessSettings = Field(default_factory=AccessSettings)
    observe: ObserveSettings = Field(default_factory=ObserveSettings)

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, given: str) -> str:
        path = given.rstrip("/")
        if path and not _ROOT_PATH.fullmatch(path):
            raise ValueError("a path such as /photos: a slash before each part; letters, digits, - . _ and ~")
        return path

    @property
    def address(self) -> str:
        """Return the URL of the service, without a proxy."""
        host = self.host.strip("[]")
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"
