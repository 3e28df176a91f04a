"""What a service tells of itself, read from `AFF_*` environment variables; both services have the same."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ObserveSettings(BaseSettings):
    """Logs and traces.

    Attributes:
        log_level: Least level of what is logged.
        log_format: `json`, a line each; `text` for people; `auto` is text where somebody looks at a terminal.
        log_requests: Which requests have a line: `all` but probes and metrics, `failed` (400 and over), `none`.
        log_max_queued: Lines that wait for a slow reader of the log; further ones are lost and counted.
        otlp_endpoint: Where traces go by OTLP over HTTP, such as `http://collector:4318`; empty sends none.
        trace_ratio: Share of the requests that are traced, where the caller has not decided already.
    """

    model_config = SettingsConfigDict(env_prefix="AFF_", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    log_requests: Literal["all", "failed", "none"] = "all"
    log_max_queued: Annotated[int, Field(ge=1)] = 10_000
    otlp_endpoint: str = ""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
