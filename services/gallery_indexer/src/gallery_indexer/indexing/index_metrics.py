"""What Prometheus learns of indexing."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aff_shared.schemas.gallery import IndexActivity
from aff_shared.schemas.indexing import Receipt
from aff_shared.web.observability import LATENCY_BUCKETS_S, span
from gallery_indexer.indexing.recent_rate import RecentRate

Stage = Literal["fetch", "decode", "prepare", "encode", "keep", "upsert"]
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class IndexMetrics:
    """Counts receipts and times the stages; every label has a fixed set of values."""

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
        self._in_flight = Gauge("aff_index_images_in_flight", "Images waiting or worked on.", registry=registry)
        self._out_of_memory = Counter(
            "aff_index_out_of_memory", "Batches that did not fit on the device and were halved.", registry=registry
        )

    @contextmanager
    def time(self, stage: Stage) -> Iterator[None]:
        """Time what runs inside the context, and trace it."""
        with span(stage), self._stages.labels(stage).time():
            yield

    def observe(self, stage: Stage, seconds: float) -> None:
        """Note how long a stage took that was timed elsewhere."""
        self._stages.labels(stage).observe(seconds)

    @contextmanager
    def encoding(self, images: int) -> Iterator[None]:
        """Time a batch, and count it with its size."""
        self._batches.observe(images)
        with self.time("encode"):
            yield

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count an image as waiting or worked on inside the context."""
        self._images_in_flight += 1
        try:
            with self._in_flight.track_inprogress():
                yield
        finally:
            self._images_in_flight -= 1

    def activity(self) -> IndexActivity:
        """Return what was done since the start."""
        return IndexActivity(
            indexed=self._statuses["indexed"],
            updated=self._statuses["updated"],
            duplicate=self._statuses["duplicate"],
            rejected=self._statuses["rejected"],
            images_per_s=self._rate.per_s(),
            in_flight=self._images_in_flight,
        )

    def count_out_of_memory(self) -> None:
        """Count a batch that did not fit on the device."""
        self._out_of_memory.inc()

    def count(self, receipt: Receipt) -> None:
        """Count what was answered."""
        self._statuses[receipt.status] += 1
        self._rate.count()
        self._receipts.labels(receipt.status).inc()
        if receipt.error:
            self._rejected.labels(receipt.error.code).inc()
