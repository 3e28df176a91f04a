"""Runs `aff serve` as a separate process on free ports."""

from __future__ import annotations

import errno
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from aff_client import SearchClient, ServiceError, ServiceUnreachableError
from aff_client.index_client import IndexerClient
from aff_shared.errors import ServiceNotReadyError

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0
# Below the range that systems take outgoing connections from (Linux: 32768 upwards): between our look and the
# service's start nothing but another service can take one of these.
_FIRST, _LAST = 20_000, 32_000


@dataclass(frozen=True, slots=True)
class LocalServices:
    """The two running services.

    Attributes:
        indexer_url: Address of the gallery indexer.
        query_url: Address of the query service.
        process: The process that both run in.
    """

    indexer_url: str
    query_url: str
    process: subprocess.Popen[bytes]


@contextmanager
def local_services(
    bundle: Path, gallery: Path, log_path: Path, settings: Mapping[str, str] = MappingProxyType({})
) -> Iterator[LocalServices]:
    """Start both services on the embedded gallery, wait until they are ready, and stop them at the end.

    Args:
        bundle: Directory of the model bundle.
        gallery: Directory of the embedded gallery.
        log_path: Log file of the services' output.
        settings: Environment variables of the services, in addition to those of this process.

    Raises:
        ServiceNotReadyError: They ended, or were not ready in time; the detail contains the end of the log.
    """
    query_port, indexer_port = free_ports(2)
    command = [
        sys.executable,
        "-m",
        "aff_toolkit",
        "serve",
        "--bundle",
        str(bundle),
        "--gallery-dir",
        str(gallery),
    ]
    command += ["--query-port", str(query_port), "--indexer-port", str(indexer_port)]
    # A gallery of the environment is the user's.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("QDRANT_")}
    environment |= settings
    with (
        log_path.open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process,
    ):
        services = LocalServices(f"http://127.0.0.1:{indexer_port}", f"http://127.0.0.1:{query_port}", process)
        try:
            _wait(services, log_path)
            yield services
        finally:
            process.terminate()
            try:
                process.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(services: LocalServices, log_path: Path) -> None:
    with IndexerClient(services.indexer_url) as indexer, SearchClient(services.query_url) as searcher:
        try:
            indexer.wait_until_ready(_START_TIMEOUT_S, services.process.poll)
            searcher.wait_until_ready(_START_TIMEOUT_S, services.process.poll)
        except (ServiceError, ServiceUnreachableError) as error:
            last_lines = log_path.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            raise ServiceNotReadyError(f"the services did not start: {last_lines or error}") from error


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing listens on, all different.

    Raises:
        OSError: There are not as many.
    """
    found: list[int] = []
    for port in random.sample(range(_FIRST, _LAST), _LAST - _FIRST):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise OSError(errno.EADDRINUSE, f"fewer than {count} ports of {_FIRST} to {_LAST} are free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
