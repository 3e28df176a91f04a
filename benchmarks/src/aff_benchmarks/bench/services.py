"""Services in separate processes, and the query floor: a search without a service."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType

from aff_benchmarks.bench.measuring import end_tree
from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import load_manifest
from aff_shared.images.decoding import decode_image
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import StoreSettings
from aff_toolkit.local.local_service import free_ports
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings

_SERVICE_START_S = 60.0
_BASELINE_START_S = 300.0  # a large tower of random weights, and a collection of many vectors
_PAUSE_S = 0.01


@dataclass(frozen=True, slots=True)
class RunningService:
    """A running service of this machine.

    Attributes:
        port: Local port.
        pid: Id of its root process.
        ready_s: Seconds from the start to the first successful response.
    """

    port: int
    pid: int
    ready_s: float


@dataclass(frozen=True, slots=True)
class QueryService(RunningService):
    """A running query service, and the directory of its gallery."""

    gallery: Path


class LitserveSetting(FrozenModel):
    """A setting of LitServe.

    Attributes:
        workers: Search processes, each with one thread of ONNX Runtime.
        batch: Maximum batch size of the encoder.
        batch_timeout_s: Maximum wait for a batch to fill.
    """

    workers: int
    batch: int = 1
    batch_timeout_s: float = 0.0

    def arguments(self, bundle: Path, galleries: Sequence[Path]) -> list[str]:
        """Return the arguments of `litserve_service`, from at least one gallery per worker."""
        return [
            *("--bundle", str(bundle), "--batch", str(self.batch), "--batch-timeout", str(self.batch_timeout_s)),
            *(argument for gallery in galleries[: self.workers] for argument in ("--gallery", str(gallery))),
        ]


def litserve_settings(cores: int) -> list[LitserveSetting]:
    """Return settings with one worker and one per core, each without batches and with batches of 8 within 5 ms."""
    workers = dict.fromkeys((1, cores))
    return [
        LitserveSetting(workers=count, batch=batch, batch_timeout_s=timeout)
        for count in workers
        for batch, timeout in ((1, 0.0), (8, 0.005))
    ]


@contextmanager
def running_query_service(
    bundle: Path, gallery: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[QueryService]:
    """Start the query service as its container image does, with these environment variables, and stop it at the end.

    Raises:
        RuntimeError: The service ended, or was not ready within a minute.
    """
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "AFF_QUERY_BUNDLE_PATH": str(bundle),
        "AFF_QUERY_PORT": str(port),
        "QDRANT_URL": "",
        "QDRANT_EDGE_PATH": str(gallery),
        **settings,
    }
    process = subprocess.Popen([sys.executable, "-m", "query_api"], env=environment)
    try:
        ready_s = _wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", within_s=_SERVICE_START_S)
        yield QueryService(port, process.pid, ready_s, gallery)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_baseline(name: str, arguments: Sequence[str]) -> Iterator[RunningService]:
    """Start `clip_service` or `litserve_service`, wait until `GET /health` succeeds, and end it afterwards.

    Raises:
        RuntimeError: The baseline ended, or was not ready within five minutes.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"{__package__}.{name}", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        ready_s = _wait_until_ready(process, f"http://127.0.0.1:{port}/health", within_s=_BASELINE_START_S)
        yield RunningService(port, process.pid, ready_s)
    finally:
        end_tree(process.pid)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, *, within_s: float) -> float:
    """Wait for a response of status 200; return the seconds."""
    began = time.perf_counter()
    while not _ready(url):
        if process.poll() is not None or time.perf_counter() - began > within_s:
            raise RuntimeError(f"the service did not start: {process.args!r}")
        time.sleep(_PAUSE_S)
    return time.perf_counter() - began


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


class QueryFloor:
    """The lower bound of a search: decoding, encoder and vector search in a bare loop, with the service's settings.

    No other process may have the embedded collection open.
    """

    def __init__(self, bundle: Path, collection: Path, settings: QuerySettings) -> None:
        manifest = load_manifest(bundle)
        self._encoder = OnnxQueryEncoder.load(
            bundle, manifest, threads=settings.onnx_threads, precision=settings.precision
        )
        self._gallery = EdgeGallery(collection, StoreSettings(url=""))
        self._limits = settings.image_limits
        self._hits = settings.default_limit
        self._threads = ThreadPoolExecutor(settings.search_threads)

    def search(self, photograph: bytes) -> float:
        """Search with an image file; return the milliseconds."""
        began = time.perf_counter()
        decoded = decode_image(photograph, self._limits, min_side=self._encoder.decode_min_side)
        (embedding,) = self._encoder.encode([decoded.pixels])
        self._gallery.search(embedding, limit=self._hits)
        return 1000 * (time.perf_counter() - began)

    def per_s(self, photographs: Sequence[bytes], count: int) -> float:
        """Return the searches per second in as many threads as the service has."""
        began = time.perf_counter()
        list(self._threads.map(self.search, (photographs[number % len(photographs)] for number in range(count))))
        return count / (time.perf_counter() - began)

    def close(self) -> None:
        """Close the gallery."""
        self._threads.shutdown()
        self._gallery.close()
