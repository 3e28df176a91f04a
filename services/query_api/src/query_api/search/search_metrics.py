"""Search metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from aff_shared.schemas.searching import SearchTimings
from aff_shared.web.observability import LATENCY_BUCKETS_S


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
