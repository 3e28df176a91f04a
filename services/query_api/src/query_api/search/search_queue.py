"""Queue of searches, with limits on active and waiting ones, and the metrics of searches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import NoReturn

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aff_shared.errors import ServiceOverloadedError
from aff_shared.schemas.searching import SearchTimings
from aff_shared.web.observability import LATENCY_BUCKETS_S

_RETRY_AFTER_S = 1


class SearchQueue:
    """Limits concurrent searches, and admits them in the order of their arrival.

    A search that cannot be answered soon is rejected immediately: one that waits too long delays the others.

    Args:
        active: Maximum number of concurrent searches.
        waiting: Maximum number of waiting searches.
        max_wait_s: Maximum wait, in seconds.
        metrics: Counts rejections.
    """

    def __init__(self, active: int, waiting: int, max_wait_s: float, metrics: SearchMetrics) -> None:
        self._active = asyncio.Semaphore(active)
        self._max_waiting = waiting
        self._max_wait_s = max_wait_s
        self._metrics = metrics
        self._waiting = 0

    def require_room(self) -> None:
        """Raise if a search cannot be admitted, before its body is read.

        Raises:
            ServiceOverloadedError: Too many searches are waiting.
        """
        if self._waiting >= self._max_waiting and self._active.locked():
            self._reject(f"{self._waiting} searches are waiting")

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place inside the context.

        Raises:
            ServiceOverloadedError: Too many searches are waiting, or this one waited too long.
        """
        if self._active.locked():
            await self._wait()
        else:
            await self._active.acquire()
        try:
            with self._metrics.active():
                yield
        finally:
            self._active.release()

    async def _wait(self) -> None:
        self.require_room()
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s):
                with self._metrics.waiting():
                    await self._active.acquire()
        except TimeoutError:
            self._reject(f"the search waited longer than {self._max_wait_s:g} s")
        finally:
            self._waiting -= 1

    def _reject(self, reason: str) -> NoReturn:
        self._metrics.count_overload()
        raise ServiceOverloadedError(reason, retry_after_s=_RETRY_AFTER_S)


class SearchMetrics:
    """Times the stages of a search."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._stages = Histogram(
            "aff_search_stage_duration_seconds",
            "Time of a stage of one search: decode, encode, search.",
            ("stage",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._of_stage = {stage: self._stages.labels(stage) for stage in SearchTimings.model_fields}
        self._overloads = Counter("aff_search_overloads", "Searches that the queue rejected.", registry=registry)
        self._waiting = Gauge("aff_search_waiting", "Searches that wait for their turn.", registry=registry)
        self._active = Gauge("aff_search_active", "Searches that are worked on.", registry=registry)
        self._searches = Counter(
            "aff_searches",
            "Successful searches by the fingerprint of their bundle.",
            ("fingerprint",),
            registry=registry,
        )

    def count_overload(self) -> None:
        """Count a search that was rejected because the queue is full."""
        self._overloads.inc()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count a search as waiting inside the context."""
        with self._waiting.track_inprogress():
            yield

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count a search as worked on inside the context."""
        with self._active.track_inprogress():
            yield

    def observe(self, stages_ms: Mapping[str, float], fingerprint: str) -> None:
        """Count a finished search.

        Args:
            stages_ms: Milliseconds of the stages that it went through, by their names in SearchTimings.
            fingerprint: Fingerprint of the bundle that served it.
        """
        self._searches.labels(fingerprint[:12]).inc()
        for stage, milliseconds in stages_ms.items():
            self._of_stage[stage].observe(milliseconds / 1000)
