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
        Such as `https://shop.example`; what is no origin, such as `null`, comes back as it is.
    """
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:  # brackets that do not close, a port that is no number
        return origin
    if not parts.scheme or not name:
        return origin
    host = f"[{name}]" if ":" in name else name
    there = port is not None and port != _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}:{port}" if there else f"{parts.scheme}://{host}"


class Scope(enum.StrEnum):
    """What a key is for."""

    SEARCH = "search"
    """The query service."""
    INDEX = "index"
    """Images of the gallery."""
    ADMIN = "admin"
    """Its collections and backups."""
    METRICS = "metrics"
    """The figures of both services."""


class AccessKey(BaseModel):
    """A key as the settings hold it; `aff keys new` makes one.

    Attributes:
        name: Of its holder, for logs and metrics.
        sha256: Of the key. A key is 256 random bits, so that nothing slower than a plain hash is needed.
        scopes: What it is for.
        requests_per_minute: Most requests to one process of a service; None for no limit. A minute's worth may come
            at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    sha256: Sha256
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None


_KEYS = TypeAdapter(tuple[AccessKey, ...])


class AccessSettings(BaseSettings):
    """Who may do what.

    Attributes:
        keys: As JSON.
        keys_file: A file with further keys, as JSON.
        anonymous_scopes: What may be done without a key. None allows everything on this machine alone, where there
            are no keys, and nothing elsewhere.
        published_host: The address at which the service is reached from outside, where it runs in a container; what
            it listens on tells nothing then.
        allowed_hosts: Names of hosts, beside addresses and names without a dot, that a service without keys answers
            for. Otherwise any site could point a name of its own at this machine and read answers in a browser.
        cors_origins: Origins (`https://shop.example`) whose pages may call the service from a browser; none by default.
    """

    model_config = SettingsConfigDict(env_prefix="AFF_ACCESS_", frozen=True)

    keys: tuple[AccessKey, ...] = ()
    keys_file: Path | None = None
    anonymous_scopes: tuple[Scope, ...] | None = None
    published_host: str | None = None
    allowed_hosts: tuple[Annotated[str, AfterValidator(str.lower)], ...] = ()
    cors_origins: tuple[Annotated[str, AfterValidator(normal_origin)], ...] = ()

    def all_keys(self) -> tuple[AccessKey, ...]:
        """Return the keys of both places.

        Raises:
            AccessSettingsError: The file cannot be read, or two keys have the same name.
        """
        keys = self.keys if self.keys_file is None else (*self.keys, *_read(self.keys_file))
        names = [key.name for key in keys]
        if len(set(names)) < len(names):
            raise AccessSettingsError(f"two keys have the same name: {', '.join(sorted(names))}")
        return keys

    def scopes_without_key(self, keys: Sequence[AccessKey], host: str) -> frozenset[Scope]:
        """Return what may be done without a key by a service that listens on an address.

        Raises:
            AccessSettingsError: There are no keys, others can reach the service, and nothing says what they may do.
        """
        if self.anonymous_scopes is not None:
            return frozenset(self.anonymous_scopes)
        if keys:
            return frozenset()
        reached = self.published_host or host
        if not _is_this_machine(reached):
            raise AccessSettingsError(
                f"anybody who reaches {reached} could search and change the gallery: set AFF_ACCESS_KEYS "
                "(aff keys new makes a key), or AFF_ACCESS_ANONYMOUS_SCOPES to what anybody may do"
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
