"""Who may do what, read from `AFF_ACCESS_*` environment variables; both services have the same."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from aff_shared.errors import AccessSettingsError
from aff_shared.schemas.embedding_space import Sha256
from aff_shared.web.origins import normal_origin


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
