"""What Prometheus learns of searching."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

from aff_contracts.schemas.searching import SearchTimings
from aff_contracts.web.metrics import LATENCY_BUCKETS_S


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
        self._overloads = Counter("aff_search_overloads", "Searches answered with 429.", registry=registry)

    def count_overload(self) -> None:
        """Count a search that was refused for want of room."""
        self._overloads.inc()

    def observe(self, timings_ms: SearchTimings) -> None:
        """Take the timings of a finished search."""
        for stage, milliseconds in timings_ms.model_dump().items():
            self._stages.labels(stage).observe(milliseconds / 1000)
