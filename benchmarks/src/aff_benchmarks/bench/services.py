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
from aff_shared.bundles.bundle import load_manifest
from aff_shared.images.decoding import decode_image
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import StoreSettings
from aff_toolkit.local.local_service import free_ports
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.settings import QuerySettings

_PAUSE_S = 0.01


def wait_until_ready(process: subprocess.Popen[bytes], url: str, *, within_s: float) -> float:
    """Wait until a service answers with status 200; returns the seconds that it took.

    Args:
        process: That was started just now.
        url: Of this machine.
        within_s: Longest wait.

    Raises:
        RuntimeError: It ended, or did not get ready in time.
    """
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


_START_S = 60.0


@dataclass(frozen=True, slots=True)
class QueryService:
    """The running service.

    Attributes:
        port: That it listens on, of this machine.
        gallery: Directory of its gallery.
        process: That it runs in.
        ready_s: Seconds from its start to its first good answer.
    """

    port: int
    gallery: Path
    process: subprocess.Popen[bytes]
    ready_s: float


@contextmanager
def running_query_service(
    bundle: Path, gallery: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[QueryService]:
    """Start the query service as the image does, and stop it at the end; settings are environment variables."""
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
        ready_s = wait_until_ready(process, f"http://127.0.0.1:{port}/readyz", within_s=_START_S)
        yield QueryService(port, gallery, process, ready_s)
    finally:
        process.terminate()
        process.wait()


_START_S = 300.0  # a large tower of random weights, and a collection of many vectors


@dataclass(frozen=True, slots=True)
class Baseline:
    """The running service.

    Attributes:
        port: That it listens on, of this machine.
        pid: Of the process that started all others of it.
    """

    port: int
    pid: int


@contextmanager
def running_baseline(name: str, arguments: Sequence[str]) -> Iterator[Baseline]:
    """Start a module of this package, wait until `GET /health` is answered, and end it afterwards.

    Args:
        name: Of the module.
        arguments: Of its command line, behind `--port`.

    Raises:
        RuntimeError: It ended, or did not get ready within five minutes.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", f"{__package__}.{name}", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(process, f"http://127.0.0.1:{port}/health", within_s=_START_S)
        yield Baseline(port, process.pid)
    finally:
        end_tree(process.pid)
        process.wait()


class QueryFloor:
    """The steps of a search, with the settings of the service and nothing around them.

    Args:
        bundle: Directory of the model bundle.
        collection: Directory of an embedded collection that nobody else has open.
        settings: Of the service.
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
        """Search with an image file; returns the milliseconds that it took."""
        began = time.perf_counter()
        decoded = decode_image(photograph, self._limits, min_side=self._encoder.decode_min_side)
        (embedding,) = self._encoder.encode([decoded.pixels])
        self._gallery.search(
            embedding,
            limit=self._hits,
            payload_filter=None,
            score_threshold=None,
            exact=False,
            with_embeddings=False,
        )
        return 1000 * (time.perf_counter() - began)

    def per_s(self, photographs: Sequence[bytes], count: int) -> float:
        """Return the searches a second in as many threads as the service has."""
        began = time.perf_counter()
        list(self._threads.map(self.search, (photographs[number % len(photographs)] for number in range(count))))
        return count / (time.perf_counter() - began)

    def close(self) -> None:
        """Close the gallery."""
        self._threads.shutdown()
        self._gallery.close()
