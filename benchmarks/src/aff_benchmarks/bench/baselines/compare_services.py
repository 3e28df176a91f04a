"""Searches with the same photographs in our service, its floor, LitServe, and a symmetric CLIP service."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.baselines.search_cost import (
    LitserveSetting,
    LitserveTrial,
    SearchCost,
    Workload,
    best_for_many,
    best_for_one,
    cost_of_floor,
    cost_of_service,
    try_litserve,
)
from aff_benchmarks.bench.load import form_requests, raw_requests
from aff_benchmarks.bench.services import Baseline, QueryFloor, QueryService, running_baseline, running_query_service
from aff_benchmarks.bench.synthetic_gallery import collection_directory, jpeg_photograph, write_gallery
from aff_client.search_calls import search_embedding
from aff_shared.bundles.bundle import load_manifest
from aff_shared.resource_limits import usable_cores
from aff_shared.store.settings import StoreSettings
from query_api.settings import QuerySettings

_PHOTOGRAPHS = 16


class Counts(BaseModel):
    """The searches per repetition.

    Attributes:
        alone: Number of searches of one client.
        together: Total number of searches of many clients.
        clients: Number of these clients.
        clip_alone: `alone` for the CLIP service, whose searches take seconds.
        clip_together: `together` for the CLIP service.
        clip_clients: `clients` for the CLIP service.
        tower: Size of the CLIP tower.
    """

    model_config = ConfigDict(frozen=True)

    alone: int = 200
    together: int = 400
    clients: int = 16
    clip_alone: int = 5
    clip_together: int = 8
    clip_clients: int = 4
    tower: str = "large"


class Comparison(BaseModel):
    """Costs, one per service and repetition.

    Attributes:
        ours: Our service.
        floor: Decoding, encoder and vector search in a bare loop.
        clip: Symmetric CLIP service.
        litserve_one: LitServe with its best setting for one client.
        litserve_many: LitServe with its best setting for many clients; often the same.
        trials: Trials of LitServe's settings, before the repetitions.
        photograph_bytes: Mean size of the photographs.
        embedding_bytes: Size of a search request with an embedding from the device.
    """

    model_config = ConfigDict(frozen=True)

    ours: list[SearchCost]
    floor: list[SearchCost]
    clip: list[SearchCost]
    litserve_one: list[SearchCost]
    litserve_many: list[SearchCost]
    trials: list[LitserveTrial]
    photograph_bytes: float
    embedding_bytes: int


@dataclass(frozen=True, slots=True)
class _Running:
    ours: QueryService
    floor: QueryFloor
    clip: Baseline
    litserve: dict[LitserveSetting, Baseline]


def compare_services(bundle: Path, *, images: int, repetitions: int, counts: Counts) -> Comparison:
    """Measure all services, in turn within each repetition.

    Args:
        bundle: Directory of the model bundle.
        images: Number of images per gallery.
        repetitions: Repetitions of everything but LitServe's trials.
        counts: Searches per repetition.

    Raises:
        BundleError: The bundle cannot be used.
        RuntimeError: A service did not start, or rejected a search.
    """
    photographs = [jpeg_photograph(number) for number in range(_PHOTOGRAPHS)]
    workload = Workload(raw_requests(photographs), counts.alone, counts.together, counts.clients)
    with tempfile.TemporaryDirectory() as name:
        served, copies = _galleries(bundle, Path(name), images)
        trials = try_litserve(bundle, copies[1:], workload)
        one, many = best_for_one(trials), best_for_many(trials)
        with _all_running(bundle, served, copies, dict.fromkeys((one, many)), images, counts) as running:
            rounds = [_round(running, photographs, workload, counts) for _ in range(repetitions)]
    return Comparison(
        ours=[found["ours"] for found in rounds],
        floor=[found["floor"] for found in rounds],
        clip=[found["clip"] for found in rounds],
        litserve_one=[found[one] for found in rounds],
        litserve_many=[found[many] for found in rounds],
        trials=trials,
        photograph_bytes=float(np.mean([len(photograph) for photograph in photographs])),
        embedding_bytes=_embedding_bytes(bundle),
    )


def _galleries(bundle: Path, directory: Path, images: int) -> tuple[Path, list[Path]]:
    """Write a gallery; return it with copies of its collection: one for the floor, and one per LitServe worker."""
    served, cores = directory / "served", usable_cores()
    write_gallery(StoreSettings(url="", edge_path=served), load_manifest(bundle).space, images)
    copies = [directory / f"copy-{number}" for number in range(1 + 2 * cores)]
    for copy in copies:
        shutil.copytree(served, copy)
    return served, [collection_directory(copy) for copy in copies]


@contextmanager
def _all_running(
    bundle: Path,
    served: Path,
    copies: Sequence[Path],
    settings: dict[LitserveSetting, None],
    images: int,
    counts: Counts,
) -> Iterator[_Running]:
    with ExitStack() as stack:
        quiet = {"AFF_LOG_REQUESTS": "none"}  # the baselines log no requests either
        litserve, free = {}, list(copies[1:])
        for setting in settings:
            arguments = setting.arguments(bundle, free)
            litserve[setting] = stack.enter_context(running_baseline("litserve_service", arguments))
            free = free[setting.workers :]
        yield _Running(
            ours=stack.enter_context(running_query_service(bundle, served, quiet)),
            floor=stack.enter_context(closing(QueryFloor(bundle, copies[0], QuerySettings()))),
            clip=stack.enter_context(
                running_baseline("clip_service", ["--images", str(images), "--tower", counts.tower])
            ),
            litserve=litserve,
        )


def _round(
    running: _Running, photographs: Sequence[bytes], workload: Workload, counts: Counts
) -> dict[str | LitserveSetting, SearchCost]:
    forms = Workload(form_requests(photographs), counts.clip_alone, counts.clip_together, counts.clip_clients)
    found: dict[str | LitserveSetting, SearchCost] = {
        "ours": cost_of_service(running.ours.port, running.ours.process.pid, workload),
        "floor": cost_of_floor(running.floor, photographs, alone=counts.alone, together=counts.together),
    }
    for setting, baseline in running.litserve.items():
        found[setting] = cost_of_service(baseline.port, baseline.pid, workload)
    return {**found, "clip": cost_of_service(running.clip.port, running.clip.pid, forms)}


def _embedding_bytes(bundle: Path) -> int:
    """Return the size of the request body of a search with an embedding, which is the same for all embeddings."""
    manifest = load_manifest(bundle)
    call = search_embedding(np.zeros(manifest.space.dimension, np.float32), manifest.fingerprint, {})
    return len(json.dumps(call.options["json"], separators=(",", ":")).encode())
