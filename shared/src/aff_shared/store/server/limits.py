"""Limits of a server's version and of a collection's strict mode, and operations within them."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qdrant_client import models

from aff_shared.errors import StoreRejectedError, StoreRequestTooLargeError, StoreThrottledError
from aff_shared.store.settings import StoreSettings

_Item = TypeVar("_Item")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CollectionLimits:
    """Limits of a collection.

    Attributes:
        search_ef: Nodes that a search of the graph keeps.
        oversampling: Factor of candidates among compressed vectors to requested hits.
        batch_size: Points per upsert call.
        query_limit: Maximum `limit` of a search or of a page of a scroll; None for no maximum.
    """

    search_ef: int
    oversampling: float
    batch_size: int
    query_limit: int | None = None

    def changes(self, configured: CollectionLimits) -> str:
        """Return the values that are lower than requested, such as `search_ef 100 instead of 200`, or an empty text."""
        pairs = [(name, getattr(self, name), getattr(configured, name)) for name in self.__slots__]
        return ", ".join(f"{name} {own} instead of {other or 'any'}" for name, own, other in pairs if own != other)


def limits_of(strict_mode: models.StrictModeConfigOutput | None, settings: StoreSettings) -> CollectionLimits:
    """Return the settings, lowered to what the strict mode of a collection allows."""
    if strict_mode is None or not strict_mode.enabled:
        return CollectionLimits(settings.search_ef, settings.oversampling, settings.upsert_batch_size)
    batches = (settings.upsert_batch_size, strict_mode.upsert_max_batchsize, strict_mode.write_rate_limit)
    return CollectionLimits(
        search_ef=min(settings.search_ef, strict_mode.search_max_hnsw_ef or settings.search_ef),
        oversampling=min(settings.oversampling, strict_mode.search_max_oversampling or settings.oversampling),
        batch_size=min(size for size in batches if size),
        query_limit=strict_mode.max_query_limit or None,
    )


async def in_parts(
    operation: Callable[[Sequence[_Item]], Awaitable[None]], items: Sequence[_Item], size: int, *, wait_s: float
) -> None:
    """Await an operation for all items, `size` at a time, halved if the store takes less at once.

    A part that is rate-limited is retried if another part is done: restarting the whole would never end.

    Args:
        operation: Takes a part.
        items: All of them.
        size: Size of the first parts.
        wait_s: Maximum wait for the rate limit, all parts together, in seconds.

    Raises:
        StoreThrottledError: The first part is held up, or the parts for longer than `wait_s`.
        StoreRequestTooLargeError: A single item is too large.
    """
    start, waited_s = 0, 0
    while start < len(items):
        part = items[start : start + size]
        try:
            await operation(part)
            start += len(part)
        except StoreRequestTooLargeError as error:
            if len(part) == 1:
                raise
            size = len(part) // 2
            _logger.warning("reducing the batch size to %d: %s", size, error)
        except StoreThrottledError as error:
            if start == 0:
                raise
            waited_s += error.retry_after_s
            if waited_s > wait_s:
                raise _wait_exceeded(error, wait_s, f"{start} of {len(items)}") from error
            _logger.warning("waiting for the store: %s", error)
            await asyncio.sleep(error.retry_after_s)


def _wait_exceeded(error: StoreThrottledError, wait_s: float, done: str) -> StoreThrottledError:
    detail = f"{error.detail}; {done} are done, and QDRANT_RATE_LIMIT_WAIT_S={wait_s:g} allows no further wait"
    return StoreThrottledError(detail, retry_after_s=error.retry_after_s)


_Version = tuple[int, int]

_OLDEST: _Version = (1, 16)
_MEMORY: _Version = (1, 19)
_TURBO: _Version = (1, 18)
_TURBO8: _Version = (1, 20)


def require_supported(settings: StoreSettings, server: str) -> None:
    """Check that a server's version and the client's support the settings.

    Args:
        settings: Settings of the store.
        server: Version, such as `1.19.0`; one that cannot be parsed is accepted.

    Raises:
        StoreRejectedError: A setting needs a newer one; names it, the server and the remedy.
    """
    client = importlib.metadata.version("qdrant-client")
    _logger.info("Qdrant server %s, client %s", server, client)
    if settings.vectors_memory == "pinned":
        raise StoreRejectedError(
            f"QDRANT_VECTORS_MEMORY=pinned: the Qdrant server ({server}) pins compressed vectors alone; set "
            "QDRANT_VECTORS_MEMORY=cached, or QDRANT_QUANTIZATION=int8 with QDRANT_QUANTIZED_MEMORY=pinned"
        )
    known = [version for version in (_parsed(server), _parsed(client)) if version is not None]
    for setting, needed, remedy in _demands(settings):
        if any(version < needed for version in known):
            raise StoreRejectedError(
                f"{setting} needs Qdrant {needed[0]}.{needed[1]}, and the server is {server}, this package's client "
                f"{client}: {remedy}, or upgrade"
            )


def _demands(settings: StoreSettings) -> list[tuple[str, _Version, str]]:
    """Return each setting that not every version supports, with the required version and an alternative."""
    demands = [("the gallery's metadata", _OLDEST, "use the embedded engine (no QDRANT_URL)")]
    kind = settings.quantization
    if kind == "turbo8":
        demands.append((f"QDRANT_QUANTIZATION={kind}", _TURBO8, "set QDRANT_QUANTIZATION=int8 or turbo4"))
    elif kind.startswith("turbo"):
        demands.append((f"QDRANT_QUANTIZATION={kind}", _TURBO, "set QDRANT_QUANTIZATION=int8 or binary"))
    for name in ("vectors_memory", "quantized_memory"):
        if placement := getattr(settings, name):
            setting = f"QDRANT_{name.upper()}"
            demands.append((f"{setting}={placement}", _MEMORY, f"leave {setting} out"))
    return demands


def _parsed(version: str) -> _Version | None:
    found = re.match(r"(\d+)\.(\d+)", version)
    return None if found is None else (int(found[1]), int(found[2]))
