"""The latency, throughput and memory of the query service, compared with a bare loop, and under overload."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from aff_benchmarks.bench.gallery_growth import GrowthPoint, measure_growth
from aff_benchmarks.bench.load import closed_loop, form_requests, open_loop, raw_requests
from aff_benchmarks.bench.measuring import resident_mib
from aff_benchmarks.bench.services import QueryFloor, QueryService, running_query_service
from aff_benchmarks.bench.synthetic_gallery import collection_directory, jpeg_photograph, write_gallery
from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from query_api.settings import QuerySettings

_PHOTOGRAPHS = 16
_CLIENTS = 16
_MODERATE = 0.7
_OVERLOADS = (0.5, _MODERATE, 1.0, 2.0, 4.0)
_LARGE = (3000, 4000)
_MIB = 2**20


class LoadPoint(FrozenModel):
    """The service under an open-loop load; latencies and rate are those of the successful searches.

    Attributes:
        load: Request rate relative to the capacity.
        rejected: Share of the searches rejected with status 429.
        per_s: Successful searches per second.
    """

    load: float
    p50_ms: float
    p99_ms: float
    rejected: float
    per_s: float


class QueryBench(FrozenModel):
    """The results of a query benchmark; the floor runs in the process of the load generator.

    Attributes:
        p50_over_floor: Median latency of one client relative to the floor's.
        p50_ms: Median latency of one client, 640 x 480 pixels as JPEG.
        floor_p50_ms: Median latency of the floor: decoding, encoder and vector search in a bare loop.
        form_p50_over_floor: `p50_over_floor` with the photograph in a multipart form.
        throughput_over_floor: Searches per second of 16 clients relative to a bare loop in as many threads as the
            service has.
        per_s: Searches per second of 16 clients.
        p99_over_p50_at_70pct: Latency ratio at 70 % of that capacity with random arrivals.
        p50_12mp_over_640px: Median latency with 4,000 x 3,000 pixels relative to 640 x 480.
        ready_s: Seconds from the start of the process to its first successful response.
        resident_mb: Resident memory of its processes in MiB without the model file; shared pages count once.
        resident_anonymous_mb: Resident memory without pages of files, in MiB.
    """

    p50_over_floor: float
    p50_ms: float
    floor_p50_ms: float
    form_p50_over_floor: float
    throughput_over_floor: float
    per_s: float
    floor_per_s: float
    p99_over_p50_at_70pct: float
    p50_12mp_over_640px: float
    floor_12mp_over_640px: float
    ready_s: float
    resident_mb: float
    resident_anonymous_mb: float
    overload: list[LoadPoint]
    growth: list[GrowthPoint]
    gallery: int
    dimension: int
    precision: str
    cores: int


def bench_query(
    bundle: Path, *, gallery: int, rounds: int, searches: int, seconds: float, growth_sizes: Sequence[int]
) -> QueryBench:
    """Measure searches with procedural photographs in a gallery of synthetic embeddings.

    Medians of rounds of some searches, loads of some seconds, and vector searches alone at the growth sizes.
    """
    manifest = load_manifest(bundle)
    photographs = [jpeg_photograph(number) for number in range(_PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory() as directory:
        served, bare = Path(directory) / "served", Path(directory) / "bare"
        write_gallery(StoreSettings(url="", edge_path=served), manifest.space, gallery)
        shutil.copytree(served, bare)
        with (
            closing(QueryFloor(bundle, collection_directory(bare), QuerySettings())) as floor,
            running_query_service(bundle, served) as service,
        ):
            latencies = _latencies(service, floor, photographs, rounds, searches)
            rates = _throughput(service, floor, photographs, rounds, searches)
            overload = {load: _load_point(service, photographs, load, rates["per_s"], seconds) for load in _OVERLOADS}
            model_bytes = max((bundle / file).stat().st_size for file in manifest.query_files)
            moderate = overload[_MODERATE]
            return QueryBench(
                **latencies,
                **rates,
                p99_over_p50_at_70pct=moderate.p99_ms / moderate.p50_ms,
                ready_s=service.ready_s,
                resident_mb=resident_mib(service.pid) - model_bytes / _MIB,
                resident_anonymous_mb=resident_mib(service.pid, anonymous=True),
                overload=list(overload.values()),
                growth=measure_growth(manifest.space.dimension, growth_sizes),
                gallery=gallery,
                dimension=manifest.space.dimension,
                precision="fp32" if manifest.query_encoder.int8_model is None else "int8",
                cores=usable_cores(),
            )


def _latencies(
    service: QueryService, floor: QueryFloor, photographs: Sequence[bytes], rounds: int, searches: int
) -> dict[str, float]:
    """Return the figures of one client of the service (photograph as body, as form, large) and of the floor."""
    large = jpeg_photograph(0, _LARGE)
    few = max(8, searches // 10)
    medians: dict[str, list[float]] = {}
    for number in range(rounds + 1):  # the first round is a warm-up
        found = {
            "service": _p50_ms(service, raw_requests(photographs), searches),
            "form": _p50_ms(service, form_requests(photographs), searches),
            "large": _p50_ms(service, raw_requests([large]), few),
            "floor": statistics.median(floor.search(photographs[i % len(photographs)]) for i in range(searches)),
            "floor_large": statistics.median(floor.search(large) for _ in range(few)),
        }
        if number:
            for name, median in found.items():
                medians.setdefault(name, []).append(median)
    ms = {name: statistics.median(values) for name, values in medians.items()}
    return {
        "p50_over_floor": ms["service"] / ms["floor"],
        "p50_ms": ms["service"],
        "floor_p50_ms": ms["floor"],
        "form_p50_over_floor": ms["form"] / ms["floor"],
        "p50_12mp_over_640px": ms["large"] / ms["service"],
        "floor_12mp_over_640px": ms["floor_large"] / ms["floor"],
    }


def _p50_ms(service: QueryService, requests: Sequence[bytes], count: int) -> float:
    return asyncio.run(closed_loop(service.port, requests, clients=1, count=count)).percentile_ms(50)


def _throughput(
    service: QueryService, floor: QueryFloor, photographs: Sequence[bytes], rounds: int, searches: int
) -> dict[str, float]:
    """Return the searches per second of the service and of the floor."""
    requests, count = raw_requests(photographs), 2 * searches
    served, bare = [], []
    for _ in range(rounds):
        served.append(asyncio.run(closed_loop(service.port, requests, clients=_CLIENTS, count=count)).per_s)
        bare.append(floor.per_s(photographs, count))
    per_s, floor_per_s = statistics.median(served), statistics.median(bare)
    return {"throughput_over_floor": per_s / floor_per_s, "per_s": per_s, "floor_per_s": floor_per_s}


def _load_point(
    service: QueryService, photographs: Sequence[bytes], load: float, capacity: float, seconds: float
) -> LoadPoint:
    outcome = asyncio.run(open_loop(service.port, raw_requests(photographs), per_s=load * capacity, seconds=seconds))
    return LoadPoint(
        load=load,
        p50_ms=outcome.percentile_ms(50),
        p99_ms=outcome.percentile_ms(99),
        rejected=outcome.rejected,
        per_s=outcome.per_s,
    )
