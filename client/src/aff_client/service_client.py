"""Base classes of the clients of both services: one for threads, one for an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import httpx

from aff_client.answers import (
    DIRECT,
    DISCONNECTED,
    ForeignAnswerError,
    ServiceError,
    ServiceUnreachableError,
    call_headers,
    has_lines,
    key_header,
    raise_unreachable,
    read_answer,
    service_url,
)
from aff_client.retries import patiently, patiently_async

_Answer = TypeVar("_Answer")

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Call(Generic[_Answer]):
    """A call of a service.

    Attributes:
        method: HTTP method.
        path: Path of the route.
        read: Parser of the response's body.
        options: Further arguments of the request.
        safe: Whether the call can be repeated after a failure without a second effect.
    """

    method: str
    path: str
    read: Callable[[bytes], _Answer]
    options: Mapping[str, Any] = field(default_factory=dict)
    safe: bool = True

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the HTTP request."""
        return {**self.options, "headers": {**call_headers(), **self.options.get("headers", {})}}


_READY = Call("GET", "/readyz", bytes)


class ServiceClient:
    """Client of a service; a context manager that closes its connections.

    Args:
        url: URL of the service.
        timeout_s: Maximum wait for each step of a response, in seconds; None uses 30, or 300 for the indexer.
        key: API key; None uses the environment variable AFF_API_KEY.
        retry_s: Time during which to repeat a call, in seconds: any call that the service rejects because it is
            overloaded or starting, and one without a second effect also while the service is unreachable. Such a call
            is always repeated once if its connection ended before the response.

    Raises:
        ServiceUrlError: `url` is not a URL.
    """

    DEFAULT_TIMEOUT_S = 30.0

    def __init__(
        self, url: str, timeout_s: float | None = None, key: str | None = None, *, retry_s: float = 0.0
    ) -> None:
        self._address = service_url(url)
        self._retry_s = retry_s
        self._http = httpx.Client(
            base_url=self._address,
            timeout=timeout_s or self.DEFAULT_TIMEOUT_S,
            mounts=dict.fromkeys(DIRECT),
            verify=self._address.scheme == "https",  # loading the certificates takes 0.1 s
            headers=key_header(key),
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
                self._once(_READY)
            except (ServiceError, ServiceUnreachableError):
                if time.monotonic() > deadline or ended() is not None:
                    raise
                time.sleep(_POLL_S)
            else:
                return

    def _send(self, call: Call[_Answer]) -> _Answer:
        return self._retried(lambda: self._once(call), safe=call.safe)

    def _retried(self, attempt: Callable[[], _Answer], *, safe: bool) -> _Answer:
        return patiently(attempt, give_up_after_s=self._retry_s, away=safe) if self._retry_s else attempt()

    def _lines(self, call: Call[Any]) -> Generator[str]:
        """Yield the lines of a response as they arrive."""
        answer = self._retried(lambda: self._opened(call), safe=call.safe)
        try:
            yield from answer.iter_lines()
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        finally:
            answer.close()

    def _opened(self, call: Call[Any]) -> httpx.Response:
        request = self._http.build_request(call.method, call.path, **call.arguments())
        try:
            answer = self._http.send(request, stream=True)
            if has_lines(answer):
                return answer
            answer.read()
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        read_answer(answer, self.url, bytes)
        raise ForeignAnswerError(answer, self.url)

    def _once(self, call: Call[_Answer]) -> _Answer:
        arguments = call.arguments()
        try:
            try:
                answer = self._http.request(call.method, call.path, **arguments)
            except DISCONNECTED:
                if not call.safe:
                    raise
                answer = self._http.request(call.method, call.path, **arguments)
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        return read_answer(answer, self.url, call.read)


class AsyncServiceClient:
    """Client of a service for an event loop; an asynchronous context manager. Arguments and errors as ServiceClient."""

    DEFAULT_TIMEOUT_S = 30.0

    def __init__(
        self, url: str, timeout_s: float | None = None, key: str | None = None, *, retry_s: float = 0.0
    ) -> None:
        self._address = service_url(url)
        self._retry_s = retry_s
        self._http = httpx.AsyncClient(
            base_url=self._address,
            timeout=timeout_s or self.DEFAULT_TIMEOUT_S,
            mounts=dict.fromkeys(DIRECT),
            verify=self._address.scheme == "https",  # loading the certificates takes 0.1 s
            headers=key_header(key),
        )
        self.url = url

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until the service is ready; errors as ServiceClient.wait_until_ready."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self._once(_READY)
            except (ServiceError, ServiceUnreachableError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(_POLL_S)
            else:
                return

    async def _send(self, call: Call[_Answer]) -> _Answer:
        return await self._retried(lambda: self._once(call), safe=call.safe)

    async def _retried(self, attempt: Callable[[], Awaitable[_Answer]], *, safe: bool) -> _Answer:
        if not self._retry_s:
            return await attempt()
        return await patiently_async(attempt, give_up_after_s=self._retry_s, away=safe)

    async def _lines(self, call: Call[Any]) -> AsyncGenerator[str]:
        """Yield the lines of a response as they arrive."""
        answer = await self._retried(lambda: self._opened(call), safe=call.safe)
        try:
            async for line in answer.aiter_lines():
                yield line
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        finally:
            await answer.aclose()

    async def _opened(self, call: Call[Any]) -> httpx.Response:
        request = self._http.build_request(call.method, call.path, **call.arguments())
        try:
            answer = await self._http.send(request, stream=True)
            if has_lines(answer):
                return answer
            await answer.aread()
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        read_answer(answer, self.url, bytes)
        raise ForeignAnswerError(answer, self.url)

    async def _once(self, call: Call[_Answer]) -> _Answer:
        arguments = call.arguments()
        try:
            try:
                answer = await self._http.request(call.method, call.path, **arguments)
            except DISCONNECTED:
                if not call.safe:
                    raise
                answer = await self._http.request(call.method, call.path, **arguments)
        except httpx.HTTPError as error:
            raise_unreachable(error, self._address)
        return read_answer(answer, self.url, call.read)
