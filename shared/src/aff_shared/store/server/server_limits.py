"""What the strict mode of a collection allows, and operations that keep within it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qdrant_client import models

from aff_shared.errors import StoreRequestTooLargeError, StoreThrottledError
from aff_shared.store.settings import StoreSettings

_Item = TypeVar("_Item")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CollectionLimits:
    """How a collection is used.

    Attributes:
        search_ef: Nodes that a search of the graph keeps.
        oversampling: How many times the wanted hits are taken of compressed vectors.
        batch_size: Points per upsert call.
        query_limit: Most points that a search or a page of a scroll may ask for; None for any number.
    """

    search_ef: int
    oversampling: float
    batch_size: int
    query_limit: int | None = None

    def changes(self, wanted: CollectionLimits) -> str:
        """Return what is lower than wanted, such as `search_ef 100 instead of 200`; empty where nothing is."""
        pairs = [(name, getattr(self, name), getattr(wanted, name)) for name in self.__slots__]
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
    """Await an operation for all items, `size` at a time, halved where the store takes less at once.

    A part that the rate limit holds up is waited for, once another part is done: begun anew, the whole would never end.

    Args:
        operation: Takes a part.
        items: All of them.
        size: Of the first parts.
        wait_s: Longest wait for the rate limit, all parts together, in seconds.

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
            _logger.warning("asked for %d at a time: %s", size, error)
        except StoreThrottledError as error:
            if start == 0:
                raise
            waited_s += error.retry_after_s
            if waited_s > wait_s:
                raise _given_up(error, wait_s, f"{start} of {len(items)}") from error
            _logger.warning("waiting for the store: %s", error)
            await asyncio.sleep(error.retry_after_s)


def _given_up(error: StoreThrottledError, wait_s: float, done: str) -> StoreThrottledError:
    detail = f"{error.detail}; {done} are done, and QDRANT_RATE_LIMIT_WAIT_S={wait_s:g} allows no further wait"
    return StoreThrottledError(detail, retry_after_s=error.retry_after_s)
