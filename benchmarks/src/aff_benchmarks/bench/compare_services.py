"""Searches with the same photographs in our service, its floor, LitServe, FastAPI, and a symmetric CLIP service."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import numpy as np

from aff_benchmarks.bench.load import Connections, Outcome, closed_loop, form_requests, raw_requests
from aff_benchmarks.bench.measuring import cpu_seconds, resident_mib
from aff_benchmarks.bench.services import (
    LitserveSetting,
    QueryFloor,
    RunningService,
    litserve_settings,
    running_baseline,
    running_query_service,
)
from aff_benchmarks.bench.synthetic_gallery import collection_directory, jpeg_photograph, write_gallery
from aff_benchmarks.records import FrozenModel
from aff_client.search_calls import search_embedding
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from query_api.settings import QuerySettings

_PHOTOGRAPHS, _TIMED_RESPONSES = 16, 5


class SearchCost(FrozenModel):
    """Time, memory and processor time of searches.

    Attributes:
        p50_ms, p99_ms: Percentiles of the latency of one client; p99 of few searches is about the slowest.
        per_s: Searches per second of many clients.
        memory_mib: Resident memory of all service processes afterwards; None without a separate process.
        cpu_s_per_1000: Processor seconds of all service processes per thousand searches of many clients.
        store_ms: Median of the vector search alone; None if not reported.
    """

    p50_ms: float
    p99_ms: float
    per_s: float
    memory_mib: float | None
    cpu_s_per_1000: float
    store_ms: float | None


class Workload(NamedTuple):
    """HTTP requests, repeated as needed, and the counts of searches: see Counts."""

    requests: Sequence[bytes]
    alone: int
    together: int
    clients: int


def _cost_of_service(service: RunningService, workload: Workload) -> SearchCost:
    """Measure a running service; raises RuntimeError if it rejected a search or found nothing."""
    port, pid = service.port, service.pid
    warm_up = workload.clients if workload.alone >= workload.clients else 1
    _run(port, workload, clients=warm_up, count=warm_up)
    alone = _run(port, workload, clients=1, count=workload.alone)
    before = cpu_seconds(pid)
    together = _run(port, workload, clients=workload.clients, count=workload.together)
    cpu_s = cpu_seconds(pid) - before
    return SearchCost(
        p50_ms=alone.percentile_ms(50),
        p99_ms=alone.percentile_ms(99),
        per_s=together.per_s,
        memory_mib=resident_mib(pid),
        cpu_s_per_1000=1000 * cpu_s / workload.together,
        store_ms=statistics.median(asyncio.run(_store_ms(port, workload.requests))),
    )


def _cost_of_floor(floor: QueryFloor, photographs: Sequence[bytes], alone: int, together: int) -> SearchCost:
    """Measure the bare loop, in one thread and in as many threads as the service has."""
    latencies = [floor.search(photographs[number % len(photographs)]) for number in range(alone)]
    before = time.process_time()
    per_s = floor.per_s(photographs, together)
    cpu_s = time.process_time() - before
    return SearchCost(
        p50_ms=statistics.median(latencies),
        p99_ms=float(np.percentile(latencies, 99)),
        per_s=per_s,
        memory_mib=None,
        cpu_s_per_1000=1000 * cpu_s / together,
        store_ms=None,
    )


def _run(port: int, workload: Workload, *, clients: int, count: int) -> Outcome:
    outcome = asyncio.run(closed_loop(port, workload.requests, clients=clients, count=count))
    if outcome.statuses[HTTPStatus.OK] != count:
        raise RuntimeError(f"{count} searches, responses by status: {dict(outcome.statuses)}")
    return outcome


async def _store_ms(port: int, requests: Sequence[bytes]) -> list[float]:
    """Return the vector search times that some responses report."""
    connections, found = Connections(f"http://127.0.0.1:{port}"), []
    for request in requests[:_TIMED_RESPONSES]:
        _, body = await connections.send(request)
        answer = json.loads(body)
        if not answer["hits"]:
            raise RuntimeError("a search found nothing")
        found.append(float(answer["timings_ms"]["search"]))
    connections.close()
    return found


class LitserveTrial(FrozenModel):
    """A setting of LitServe and its search cost."""

    setting: LitserveSetting
    cost: SearchCost


def _try_litserve(bundle: Path, galleries: Sequence[Path], workload: Workload) -> list[LitserveTrial]:
    """Measure every setting once, with a copy of the collection per core."""
    trials = []
    for setting in litserve_settings(usable_cores()):
        with running_baseline("litserve_service", setting.arguments(bundle, galleries)) as baseline:
            trials.append(LitserveTrial(setting=setting, cost=_cost_of_service(baseline, workload)))
    return trials


def best_for_one_and_many(trials: Sequence[LitserveTrial]) -> tuple[LitserveSetting, LitserveSetting]:
    """Return the settings with the lowest median latency, and with the most searches per second."""
    one, many = min(trials, key=lambda trial: trial.cost.p50_ms), max(trials, key=lambda trial: trial.cost.per_s)
    return one.setting, many.setting


class Counts(FrozenModel):
    """The searches per repetition; fewer for the CLIP service, whose searches take seconds.

    Attributes:
        alone: Number of searches of one client.
        together: Total number of searches of many clients.
    """

    alone: int = 200
    together: int = 400
    clients: int = 16
    clip_alone: int = 5
    clip_together: int = 8
    clip_clients: int = 4
    tower: str = "large"


class Comparison(FrozenModel):
    """Costs, one per service and repetition.

    Attributes:
        litserve_one: LitServe with its best setting for one client.
        litserve_many: LitServe with its best setting for many clients; often the same.
        photograph_bytes: Mean size of the photographs.
        embedding_bytes: Size of a search request with an embedding from the device.
    """

    ours: list[SearchCost]
    floor: list[SearchCost]
    clip: list[SearchCost]
    fastapi: list[SearchCost]
    litserve_one: list[SearchCost]
    litserve_many: list[SearchCost]
    trials: list[LitserveTrial]
    photograph_bytes: float
    embedding_bytes: int


def compare_services(bundle: Path, *, images: int, repetitions: int, counts: Counts) -> Comparison:
    """Measure all services with galleries of `images`, in turn within each repetition; LitServe's trials once before.

    Raises:
        BundleError: The bundle cannot be used.
        RuntimeError: A service did not start, or rejected a search.
    """
    photographs = [jpeg_photograph(number) for number in range(_PHOTOGRAPHS)]
    workload = Workload(raw_requests(photographs), counts.alone, counts.together, counts.clients)
    forms = Workload(form_requests(photographs), counts.clip_alone, counts.clip_together, counts.clip_clients)
    clip = ["--images", str(images), "--tower", counts.tower]
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        served, copies = _galleries(bundle, Path(directory), images)
        trials = _try_litserve(bundle, copies[1:], workload)
        one, many = best_for_one_and_many(trials)
        services = _start(stack, bundle, served, copies[1:], dict.fromkeys((one, many)))
        floor = stack.enter_context(closing(QueryFloor(bundle, copies[0], QuerySettings())))
        symmetric = stack.enter_context(running_baseline("clip_service", clip))
        rounds = []
        for _ in range(repetitions):
            found = {key: _cost_of_service(service, workload) for key, service in services.items()}
            found["floor"] = _cost_of_floor(floor, photographs, counts.alone, counts.together)
            found["clip"] = _cost_of_service(symmetric, forms)
            rounds.append(found)
    keys: dict[str, str | LitserveSetting] = {"litserve_one": one, "litserve_many": many}
    keys |= {name: name for name in ("ours", "floor", "clip", "fastapi")}
    return Comparison(
        **{name: [found[key] for found in rounds] for name, key in keys.items()},
        trials=trials,
        photograph_bytes=float(np.mean([len(photograph) for photograph in photographs])),
        embedding_bytes=_embedding_bytes(bundle),
    )


def _galleries(bundle: Path, directory: Path, images: int) -> tuple[Path, list[Path]]:
    """Write a gallery; return it with copies of its collection: for the floor, each LitServe worker, and FastAPI."""
    served, cores = directory / "served", usable_cores()
    write_gallery(StoreSettings(url="", edge_path=served), load_manifest(bundle).space, images)
    copies = [directory / f"copy-{number}" for number in range(2 + 2 * cores)]
    for copy in copies:
        shutil.copytree(served, copy)
    return served, [collection_directory(copy) for copy in copies]


def _start(
    stack: ExitStack, bundle: Path, served: Path, collections: Sequence[Path], settings: Iterable[LitserveSetting]
) -> dict[str | LitserveSetting, RunningService]:
    """Start our service, FastAPI, and LitServe with each setting, each with its own copies of the collection."""
    quiet = {"AFF_LOG_REQUESTS": "none"}  # the baselines log no requests either
    services: dict[str | LitserveSetting, RunningService] = {
        "ours": stack.enter_context(running_query_service(bundle, served, quiet))
    }
    for setting in settings:
        arguments = setting.arguments(bundle, collections)
        services[setting] = stack.enter_context(running_baseline("litserve_service", arguments))
        collections = collections[setting.workers :]
    arguments = ["--bundle", str(bundle), "--gallery", str(collections[0])]
    services["fastapi"] = stack.enter_context(running_baseline("fastapi_service", arguments))
    return services


def _embedding_bytes(bundle: Path) -> int:
    """Return the size of the body of any search with an embedding."""
    manifest = load_manifest(bundle)
    call = search_embedding(np.zeros(manifest.space.dimension, np.float32), manifest.fingerprint, {})
    return len(json.dumps(call.options["json"], separators=(",", ":")).encode())
