"""Whether a service that was started answers."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from http import HTTPStatus

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
