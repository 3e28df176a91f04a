"""Settings of both services: where they listen, who may call them, what they log."""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from aff_shared.errors import AccessSettingsError
from aff_shared.resource_limits import usable_memory
from aff_shared.schemas.embedding_space import Sha256

_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(origin: str) -> str:
    """Return an origin as browsers send it: in lower case, without the scheme's default port.

    Args:
        origin: Such as `https://Shop.Example:443`.

    Returns:
        Such as `https://shop.example`; anything else, such as `null`, is returned unchanged.
    """
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is not a number
        return origin
    if not parts.scheme or not name:
        return origin
    host = f"[{name}]" if ":" in name else name
    there = port is not None and port != _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}:{port}" if there else f"{parts.scheme}://{host}"


class Scope(enum.StrEnum):
    """Scopes of keys."""

    SEARCH = "search"
    """The query service."""
    INDEX = "index"
    """Images of the gallery."""
    ADMIN = "admin"
    """Its collections and backups."""
    METRICS = "metrics"
    """The figures of both services."""


class AccessKey(BaseModel):
    """A key in the settings; `aff keys new` makes one.

    Attributes:
        name: Name of its holder, for logs and metrics.
        sha256: SHA-256 of the key. A key is 256 random bits, so a plain hash is sufficient.
        scopes: Scopes of the key.
        requests_per_minute: Maximum number of requests to one process; None for no limit. A minute's worth may
            arrive at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Sha256
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None


_KEYS = TypeAdapter(tuple[AccessKey, ...])


class AccessSettings(BaseSettings):
    """Settings of access control.

    Attributes:
        keys: Keys, as JSON.
        keys_file: File with further keys, as JSON.
        anonymous_scopes: Scopes without a key. None allows everything for services on a loopback address without
            keys, and nothing otherwise.
        published_host: Address at which the service is reached from outside, if it runs in a container, where
            the address that it listens on is not significant.
        allowed_hosts: Host names that a service without keys accepts, in addition to addresses and names without
            a dot. Otherwise any site could point its name at this machine and read responses in a browser.
        cors_origins: Origins (`https://shop.example`) whose pages may call the service in a browser; none by default.
    """

    model_config = SettingsConfigDict(env_prefix="AFF_ACCESS_", frozen=True)

    keys: tuple[AccessKey, ...] = ()
    keys_file: Path | None = None
    anonymous_scopes: tuple[Scope, ...] | None = None
    published_host: str | None = None
    allowed_hosts: tuple[Annotated[str, AfterValidator(str.lower)], ...] = ()
    cors_origins: tuple[Annotated[str, AfterValidator(normal_origin)], ...] = ()

    def all_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys of `keys` and `keys_file`.

        Raises:
            AccessSettingsError: The file cannot be read, or two keys have the same name.
        """
        keys = self.keys if self.keys_file is None else (*self.keys, *_read(self.keys_file))
        names = [key.name for key in keys]
        if len(set(names)) < len(names):
            raise AccessSettingsError(f"two keys have the same name: {', '.join(sorted(names))}")
        return keys

    def scopes_without_key(self, keys: Sequence[AccessKey], host: str) -> frozenset[Scope]:
        """Return the scopes without a key of a service that listens on an address.

        Raises:
            AccessSettingsError: There are no keys or anonymous scopes, and other machines can reach the service.
        """
        if self.anonymous_scopes is not None:
            return frozenset(self.anonymous_scopes)
        if keys:
            return frozenset()
        reached = self.published_host or host
        if not _is_this_machine(reached):
            raise AccessSettingsError(
                f"every client of {reached} could search and change the gallery: set AFF_ACCESS_KEYS "
                "(aff keys new makes a key), or AFF_ACCESS_ANONYMOUS_SCOPES to the scopes without a key"
            )
        return frozenset(Scope)


def _read(path: Path) -> tuple[AccessKey, ...]:
    try:
        return _KEYS.validate_json(path.read_bytes())
    except OSError as error:
        raise AccessSettingsError(f"the keys cannot be read: {error.strerror}", item=str(path)) from error
    except ValidationError as error:
        raise AccessSettingsError(f"not a list of keys: {error.errors()[0]['msg']}", item=str(path)) from error


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class ObserveSettings(BaseSettings):
    """Logs and traces.

    Attributes:
        log_level: Minimum level of log lines.
        log_format: `json`, one object per line; `text` for people; `auto` is `text` in a terminal.
        log_requests: Requests that are logged: `all` (except probes and metrics), `failed` (400 and over), `none`.
        log_max_queued: Maximum number of lines that wait for a slow reader; further ones are dropped and counted.
        otlp_endpoint: Endpoint for traces, OTLP over HTTP, such as `http://collector:4318`; empty disables traces.
        trace_ratio: Share of requests that are traced, unless the caller has decided.
    """

    model_config = SettingsConfigDict(env_prefix="AFF_", frozen=True)

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "text"] = "auto"
    log_requests: Literal["all", "failed", "none"] = "all"
    log_max_queued: Annotated[int, Field(ge=1)] = 10_000
    otlp_endpoint: str = ""
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


_ROOT_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+")


def queued_bytes(most: int) -> int:
    """Return the maximum bytes of request bodies in progress: an eighth of the memory, at most `most`."""
    return min(most, usable_memory() // 8)


class ListenSettings(BaseSettings):
    """Server settings of a service.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        root_path: Path prefix under which a proxy publishes the service, such as `/photos`; it may strip it or not.
        keep_alive_timeout_s: How long an idle connection stays open, in seconds: longer than clients and proxies keep
            theirs, so that no request is sent on a connection that is being closed.
        head_timeout_s: Maximum time in which the head of a request has to arrive; then the connection is closed.
        max_head_bytes: Maximum size of a request's head.
        body_timeout_s: Maximum time in which the body of a request has to arrive.
        max_body_bytes: Maximum size of a request's body.
        max_queued_bytes: Maximum bytes of all request bodies in progress; further requests are answered with 429
            and `Retry-After` before their body is read. A request is always accepted if it is the only one.
        max_queued_requests: Maximum number of requests with a body in progress; further ones are answered so too.
        max_connections: Maximum number of open connections; a request on a further one is answered with
            503.
        access: Access settings (`AFF_ACCESS_*`).
        observe: Settings of logs and traces (`AFF_*`).
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
            raise ValueError("expected a path such as /photos: a slash before each part; letters, digits, - . _ and ~")
        return path

    @property
    def address(self) -> str:
        """Return the URL of the service, without a proxy."""
        host = self.host.strip("[]")
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"
