"""What a search costs beside its floor, alone, under load and beyond it."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.gallery_growth import GrowthPoint, measure_growth
from aff_benchmarks.bench.load import Outcome, closed_loop, form_requests, open_loop, raw_requests
from aff_benchmarks.bench.measuring import resident_mib
from aff_benchmarks.bench.services import QueryFloor, QueryService, running_query_service
from aff_benchmarks.bench.synthetic_gallery import collection_directory, write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes.view import render_view
from query_api.settings import QuerySettings

_PHOTOGRAPHS = 16
_CLIENTS = 16
_MODERATE = 0.7
_OVERLOADS = (0.5, _MODERATE, 1.0, 2.0, 4.0)
_MIB = 2**20


class LoadPoint(BaseModel):
    """The service under a load that does not wait for answers.

    Attributes:
        load: As a share of the capacity.
        p50_ms: Of the answered searches.
        p99_ms: Of the answered searches.
        refused: Share of the searches that were answered with 429.
        per_s: Answered searches a second.
    """

    model_config = ConfigDict(frozen=True)

    load: float
    p50_ms: float
    p99_ms: float
    refused: float
    per_s: float


class QueryBench(BaseModel):
    """What was measured; the service runs in processes of its own, the client and the floor in another.

    Attributes:
        p50_over_floor: Median latency of one client, of the median that decoding, encoder and vector search take.
        p50_ms: Of one client, 640 x 480 pixels as JPEG.
        floor_p50_ms: Of the bare loop.
        form_p50_over_floor: As the first, with the photograph in a multipart form.
        throughput_over_floor: Searches a second of 16 clients, of those that a bare loop does in as many threads as the
            service has.
        per_s: Of 16 clients.
        floor_per_s: Of the bare loop.
        p99_over_p50_at_70pct: At 70 % of that capacity, searches coming at random moments.
        p50_12mp_over_640px: Median latency with 4,000 x 3,000 pixels.
        floor_12mp_over_640px: The same of the bare loop.
        ready_s: From the start of the process to its first good answer.
        resident_mb: Resident memory of its processes in MiB without the model's file; what they share counts once.
        resident_anonymous_mb: What of it is not part of a file.
        overload: Under growing load.
        growth: Vector searches alone, by the gallery's size and the compression of its vectors.
        gallery: Images.
        dimension: Of the embeddings.
        precision: Of the encoder.
        cores: Of the machine.
    """

    model_config = ConfigDict(frozen=True)

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
    """Measure on procedural photographs and a gallery of synthetic embeddings.

    Args:
        bundle: Whose query encoder is used.
        gallery: Its images.
        rounds: Of which the median counts.
        searches: Of a round.
        seconds: Of each load.
        growth_sizes: Images of the galleries whose vector search is measured as they grow.

    Raises:
        BundleError: The bundle cannot be used.
    """
    manifest = load_manifest(bundle)
    photographs = [jpeg_photograph(number, (480, 640)) for number in range(_PHOTOGRAPHS)]
    with tempfile.TemporaryDirectory() as directory:
        served, bare = Path(directory) / "served", Path(directory) / "bare"
        write_gallery(StoreSettings(url="", edge_path=served), manifest.space, gallery)
        shutil.copytree(served, bare)
        with (
            closing(QueryFloor(bundle, collection_directory(bare), QuerySettings())) as floor,
            running_query_service(bundle, served) as service,
        ):
            latencies = _latencies(service, floor, photographs, rounds, searches)
            per_s, floor_per_s = _throughput(service, floor, photographs, rounds, searches)
            overload = {load: _load_point(service, photographs, load, per_s, seconds) for load in _OVERLOADS}
            model_bytes = max((bundle / file).stat().st_size for file in manifest.query_files)
            at_70 = overload[_MODERATE]
            return QueryBench(
                p50_over_floor=latencies.service / latencies.floor,
                p50_ms=latencies.service,
                floor_p50_ms=latencies.floor,
                form_p50_over_floor=latencies.form / latencies.floor,
                throughput_over_floor=per_s / floor_per_s,
                per_s=per_s,
                floor_per_s=floor_per_s,
                p99_over_p50_at_70pct=at_70.p99_ms / at_70.p50_ms,
                p50_12mp_over_640px=latencies.large / latencies.service,
                floor_12mp_over_640px=latencies.floor_large / latencies.floor,
                ready_s=service.ready_s,
                resident_mb=resident_mib(service.process.pid) - model_bytes / _MIB,
                resident_anonymous_mb=resident_mib(service.process.pid, anonymous=True),
                overload=list(overload.values()),
                growth=measure_growth(manifest.space.dimension, growth_sizes),
                gallery=gallery,
                dimension=manifest.space.dimension,
                precision="fp32" if manifest.query_encoder.int8_model is None else "int8",
                cores=usable_cores(),
            )


def jpeg_photograph(number: int, size: tuple[int, int]) -> bytes:
    """Return a procedural photograph of (height, width) pixels as a JPEG file."""
    height, width = size
    pixels = cv2.cvtColor(render_view(number, 0, size=(480, 640)), cv2.COLOR_RGB2BGR)
    if size != (480, 640):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


@dataclass(frozen=True, slots=True)
class _Latencies:
    """Median milliseconds."""

    service: float
    form: float
    large: float
    floor: float
    floor_large: float


def _latencies(
    service: QueryService, floor: QueryFloor, photographs: Sequence[bytes], rounds: int, searches: int
) -> _Latencies:
    raw, form = raw_requests(photographs), form_requests(photographs)
    large = jpeg_photograph(0, (3000, 4000))
    few = max(8, searches // 10)
    medians: dict[str, list[float]] = {name: [] for name in _Latencies.__dataclass_fields__}
    for number in range(rounds + 1):  # the first one warms up
        found = {
            "service": _one_client(service, raw, searches).percentile_ms(50),
            "form": _one_client(service, form, searches).percentile_ms(50),
            "large": _one_client(service, raw_requests([large]), few).percentile_ms(50),
            "floor": statistics.median(floor.search(photographs[i % len(photographs)]) for i in range(searches)),
            "floor_large": statistics.median(floor.search(large) for _ in range(few)),
        }
        for name, median in found.items():
            medians[name] += [median] if number else []
    return _Latencies(**{name: statistics.median(values) for name, values in medians.items()})


def _throughput(
    service: QueryService, floor: QueryFloor, photographs: Sequence[bytes], rounds: int, searches: int
) -> tuple[float, float]:
    served, bare = [], []
    for _ in range(rounds):
        outcome = asyncio.run(
            closed_loop(service.port, raw_requests(photographs), clients=_CLIENTS, count=2 * searches)
        )
        served.append(outcome.per_s)
        bare.append(floor.per_s(photographs, 2 * searches))
    return statistics.median(served), statistics.median(bare)


def _load_point(
    service: QueryService, photographs: Sequence[bytes], load: float, capacity: float, seconds: float
) -> LoadPoint:
    outcome = asyncio.run(open_loop(service.port, raw_requests(photographs), per_s=load * capacity, seconds=seconds))
    return LoadPoint(
        load=load,
        p50_ms=outcome.percentile_ms(50),
        p99_ms=outcome.percentile_ms(99),
        refused=outcome.refused,
        per_s=outcome.per_s,
    )


def _one_client(service: QueryService, requests: Sequence[bytes], count: int) -> Outcome:
    return asyncio.run(closed_loop(service.port, requests, clients=1, count=count))
