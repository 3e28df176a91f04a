"""What Prometheus learns of the store; the stores of a process share it, and its services show it."""

from __future__ import annotations

from prometheus_client import Counter

store_failures = Counter(
    "aff_store_failures", "Calls to the store that failed, each try by itself.", ("code",), registry=None
)
