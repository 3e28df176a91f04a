"""Rankings, metrics, reports."""

from typing import Literal

BenchmarkName = Literal["roxford5k", "rparis6k", "gldv2", "csv", "folder", "scenes"]
