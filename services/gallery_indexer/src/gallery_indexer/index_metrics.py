"""What Prometheus learns of indexing."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram

from aff_contracts.schemas.indexing import Receipt
from aff_contracts.web.metrics import LATENCY_BUCKETS_S

Stage = Literal["fetch", "decode", "encode", "upsert"]


class IndexMetrics:
    """Counts receipts and times the stages; every label has a fixed set of values."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._receipts = Counter(
            "aff_index_receipts", "Images answered with a receipt.", ("status",), registry=registry
        )
        self._rejected = Counter("aff_index_rejected", "Images rejected.", ("code",), registry=registry)
        self._stages = Histogram(
            "aff_index_stage_duration_seconds",
            "Time of a stage: fetch per request, decode per image, encode and upsert per batch.",
            ("stage",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )

    def time(self, stage: Stage) -> AbstractContextManager[object]:
        """Time what runs inside the context."""
        return self._stages.labels(stage).time()

    def count(self, receipts: Iterable[Receipt]) -> None:
        """Count what was answered."""
        for receipt in receipts:
            self._receipts.labels(receipt.status).inc()
            if receipt.error:
                self._rejected.labels(receipt.error.code).inc()
