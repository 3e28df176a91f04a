"""Metrics of indexing."""

from __future__ import annotations

import time
from collections import Counter as Counts
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aff_shared.schemas.gallery import IndexActivity
from aff_shared.schemas.indexing import IndexSummary, Receipt
from aff_shared.web.observability import LATENCY_BUCKETS_S, span

Stage = Literal["fetch", "decode", "prepare", "encode", "keep", "upsert"]
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_WINDOW_S = 60


class RecentRate:
    """Counts events per second over the last minute."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=_WINDOW_S + 1)

    def count(self) -> None:
        """Count an event now."""
        second = int(time.monotonic())
        if self._seconds and self._seconds[-1][0] == second:
            second, events = self._seconds.pop()
            self._seconds.append((second, events + 1))
        else:
            self._seconds.append((second, 1))

    def per_s(self) -> float:
        """Return the mean of the last minute, or of the time since the start if that is shorter."""
        now = time.monotonic()
        events = sum(events for second, events in self._seconds if second > now - _WINDOW_S)
        return events / min(_WINDOW_S, max(1.0, now - self._started))


class IndexMetrics:
    """Counts receipts and records stage times; every label has a fixed set of values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._statuses: Counts[str] = Counts()
        self._images_in_flight = 0
        self._rate = RecentRate()
        self._receipts = Counter(
            "aff_index_receipts", "Images answered with a receipt.", ("status",), registry=registry
        )
        self._rejected = Counter("aff_index_rejected", "Images rejected.", ("code",), registry=registry)
        self._stages = Histogram(
            "aff_index_stage_duration_seconds",
            "Time of a stage: fetch per request, decode and prepare per image, encode, keep and upsert per batch.",
            ("stage",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self._batches = Histogram(
            "aff_index_batch_images", "Images embedded together.", buckets=_BATCH_BUCKETS, registry=registry
        )
        self._in_flight = Gauge("aff_index_images_in_flight", "Images waiting or in progress.", registry=registry)
        self._out_of_memory = Counter(
            "aff_index_out_of_memory",
            "Batches that did not fit into the device's memory and were halved.",
            registry=registry,
        )

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Record the time of the context as a stage, with a trace span."""
        with span(stage), self._stages.labels(stage).time():
            yield

    def observe(self, stage: Stage, seconds: float) -> None:
        """Record the time of a stage that was measured elsewhere."""
        self._stages.labels(stage).observe(seconds)

    @contextmanager
    def encoding(self, images: int) -> Iterator[None]:
        """Record the size of a batch, and the time of the context as its encoding."""
        self._batches.observe(images)
        with self.time("encode"):
            yield

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count an image as in flight during the context."""
        self._images_in_flight += 1
        try:
            with self._in_flight.track_inprogress():
                yield
        finally:
            self._images_in_flight -= 1

    def activity(self) -> IndexActivity:
        """Return the counts since the start."""
        return IndexActivity(
            **IndexSummary.of(self._statuses).model_dump(),
            images_per_s=self._rate.per_s(),
            in_flight=self._images_in_flight,
        )

    def count_out_of_memory(self) -> None:
        """Count a batch that did not fit into the device's memory."""
        self._out_of_memory.inc()

    def count(self, receipt: Receipt) -> None:
        """Count a receipt."""
        self._statuses[receipt.status] += 1
        self._rate.count()
        self._receipts.labels(receipt.status).inc()
        if receipt.error:
            self._rejected.labels(receipt.error.code).inc()
