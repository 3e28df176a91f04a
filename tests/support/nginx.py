"""nginx before services: with locations of any configuration, or with the two ways to publish one below a path."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from aff_toolkit.local.local_service import free_ports

_START_S = 20.0

_CONFIGURATION = """
daemon off;
user root root; # where the tests run as root, so that it can write below their directories; else without effect
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
{servers}
}}
"""
_TWO_WAYS = """
    proxy_set_header Host $http_host;
    server {{
        listen 127.0.0.1:{stripping};
        location {below}/ {{ proxy_pass http://127.0.0.1:{service}/; }}
    }}
    server {{
        listen 127.0.0.1:{passing};
        location {below} {{ proxy_pass http://127.0.0.1:{service}; }}
    }}
"""


def find_nginx() -> str:
    """Return the path of nginx; the test is skipped if it is not installed."""
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is None:
        pytest.skip("there is no nginx: apt-get install nginx-light")
    return nginx


@contextmanager
def nginx_before(service: int, below: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Run nginx; the test is skipped if it is not installed.

    Args:
        service: Port of the service.
        below: Path such as `/photos`.
        directory: For its files.

    Yields:
        The two URLs of the service: where nginx takes the path off, and where it passes it.
    """
    stripping, passing = free_ports(2)
    servers = _TWO_WAYS.format(below=below, service=service, stripping=stripping, passing=passing)
    with running_nginx(servers, [stripping, passing], directory):
        yield f"http://127.0.0.1:{stripping}{below}", f"http://127.0.0.1:{passing}{below}"


@contextmanager
def running_nginx(servers: str, ports: Sequence[int], directory: Path) -> Iterator[None]:
    """Run nginx with server blocks that listen on ports of 127.0.0.1; the test is skipped if it is not installed."""
    configuration = directory / "nginx.conf"
    configuration.write_text(_CONFIGURATION.format(directory=directory, servers=servers))
    process = subprocess.Popen([find_nginx(), "-p", str(directory), "-e", "stderr", "-c", str(configuration)])
    try:
        for port in ports:
            _wait(process, port)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "nginx ended"
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        else:
            return
