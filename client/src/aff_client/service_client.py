"""Base class of the synchronous clients of both services."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from aff_client.answers import (
    DIRECT,
    DISCONNECTED,
    ServiceError,
    ServiceUnreachableError,
    call_headers,
    key_header,
    raise_unreachable,
    read_answer,
    service_url,
)

_Answer = TypeVar("_Answer")

_POLL_S = 0.1


class ServiceClient:
    """Client of a service; a context manager that closes its connections.

    Args:
        url: URL of the service.
        timeout_s: Maximum wait for each step of a response, in seconds.
        key: API key; None uses the environment variable AFF_API_KEY.

    Raises:
        ServiceUrlError: `url` is not a URL.
    """

    def __init__(self, url: str, timeout_s: float, key: str | None = None) -> None:
        self._address = service_url(url)
        self._http = httpx.Client(
            base_url=self._address, timeout=timeout_s, mounts=dict.fromkeys(DIRECT), headers=key_header(key)
        )
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def wait_until_ready(self, timeout_s: float, ended: Callable[[], object] = lambda: None) -> None:
        """Wait until the service is ready.

        Args:
            timeout_s: Maximum wait, in seconds.
            ended: Returns None while the service's process runs; anything else ends the wait.

        Raises:
            ServiceError: The service is not ready after `timeout_s`; contains its reason.
            ServiceUnreachableError: The service does not respond after `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._call("GET", "/readyz", bytes, safe=True)
            except (ServiceError, ServiceUnreachableError):
                if time.monotonic() > deadline or ended() is not None:
                    raise
                time.sleep(_POLL_S)
            else:
                return

    def _call(
        self, method: str, path: str, read: Callable[[bytes], _Answer], *, safe: bool = False, **options: Any
    ) -> _Answer:
        """Send a request; a `safe` one, which changes nothing, is repeated once if its connection ended."""
        headers = {**call_headers(), **options.pop("headers", {})}
        try:
            try:
                answer = self._http.request(method, path, headers=headers, **options)
            except DISCONNECTED:
                if not safe:
                    raise
                answer = self._http.request(method, path, headers=headers, **options)
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        return read_answer(answer, self.url, read)
