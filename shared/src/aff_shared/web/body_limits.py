"""Limits on the bodies of requests: size, time, encoding, and how many bytes a service holds at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from types import TracebackType
from typing import NoReturn, Self

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aff_shared.errors import BodyTimeoutError, BodyTooLargeError, ContentEncodingError, ServiceOverloadedError
from aff_shared.web.middleware import HttpMiddleware

_REMEMBERED_REQUESTS = 32
_LONGEST_RETRY_S = 60


class ByteBudget:
    """Bounds how many requests with bodies, and how many bytes of them, a service holds at the same time.

    Args:
        max_requests: Maximum number of requests that hold bytes at the same time.
        max_bytes: Maximum number of bytes that all of them hold; a request may exceed it while it is the only one.
    """

    def __init__(self, max_requests: int, max_bytes: int) -> None:
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._requests = 0
        self._bytes = 0
        self._durations_s: deque[float] = deque(maxlen=_REMEMBERED_REQUESTS)

    @property
    def held_bytes(self) -> int:
        """Return the bytes that all requests hold."""
        return self._bytes

    def place(self) -> Place:
        """Return the place of a request, which holds nothing yet."""
        return Place(self)

    def take(self, size: int, *, already_held: int | None) -> None:
        """Reserve bytes, for `Place`.

        Args:
            size: Number of bytes.
            already_held: Bytes that the same request holds; None if it has no place yet.

        Raises:
            ServiceOverloadedError: There is no room for them now.
        """
        if already_held is None and self._requests >= self._max_requests:
            self._reject(f"{self._requests} requests are in progress, which is the limit")
        if self._bytes > (already_held or 0) and self._bytes + size > self._max_bytes:
            self._reject(f"{self._bytes} bytes of requests are in progress, and the limit is {self._max_bytes}")
        self._requests += already_held is None
        self._bytes += size

    def release(self, size: int, held_s: float) -> None:
        """Release a place and its bytes, for `Place`; `held_s` is used to estimate `Retry-After`."""
        self._durations_s.append(held_s)
        self._requests -= 1
        self._bytes -= size

    def _reject(self, reason: str) -> NoReturn:
        raise ServiceOverloadedError(reason, retry_after_s=self._retry_after_s())

    def _retry_after_s(self) -> int:
        """Estimate when half of the budget will be free, from the durations of the last requests."""
        if not self._durations_s:
            return 1
        mean_s = sum(self._durations_s) / len(self._durations_s)
        return min(_LONGEST_RETRY_S, max(1, math.ceil(mean_s / 2)))


class Place:
    """Share of one request in the budget; a context manager that releases it."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._bytes: int | None = None
        self._since = 0.0

    def take(self, size: int) -> None:
        """Reserve further bytes until the request is answered; the first call takes a place.

        Args:
            size: Number of bytes.

        Raises:
            ServiceOverloadedError: There is no room for them now.
        """
        self._budget.take(size, already_held=self._bytes)
        if self._bytes is None:
            self._since = time.monotonic()
        self._bytes = (self._bytes or 0) + size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._bytes is not None:
            self._budget.release(self._bytes, time.monotonic() - self._since)


class BodyLimits(HttpMiddleware):
    """ASGI middleware: enforces encoding, size, time and byte budget of request bodies.

    An encoded body, and one that announces more than `max_bytes`, is rejected before it is read. The other errors are
    raised in the route that reads the body; a body that no route reads needs no budget. A body that announces its
    length is admitted as a whole before anything is read, a chunked one as it arrives. The budget is held until the
    request is answered.

    Args:
        app: Wrapped application.
        max_bytes: Maximum size of a body.
        timeout_s: Maximum time from the request's head to the end of its body, in seconds.
        budget: Byte budget of the service.

    Raises:
        ContentEncodingError: The body is compressed.
        BodyTooLargeError: The body is larger than `max_bytes`.
        BodyTimeoutError: The body did not arrive in time.
        ServiceOverloadedError: The budget has no room for the body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int, timeout_s: float, budget: ByteBudget) -> None:
        super().__init__(app)
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._budget = budget

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See HttpMiddleware."""
        headers = Headers(scope=scope)
        _require_identity(headers)
        length = headers.get("content-length", "")
        announced = int(length) if length.isdecimal() else None
        self._require_size(announced or 0)
        with self._budget.place() as place:
            scope.setdefault("state", {})["place"] = place
            await self._app(scope, self._limited(receive, place, announced), send)

    def _limited(self, receive: Receive, place: Place, announced: int | None) -> Receive:
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        not_admitted, received, complete = announced, 0, False

        async def receive_limited() -> Message:
            nonlocal not_admitted, received, complete
            if not_admitted:
                place.take(not_admitted)
                not_admitted = 0
            if complete:
                return await receive()
            message = await self._receive_by(deadline, receive)
            complete = not message.get("more_body", False)
            size = len(message.get("body", b""))
            received += size
            self._require_size(received)
            if announced is None and size:
                place.take(size)
            return message

        return receive_limited

    async def _receive_by(self, deadline: float, receive: Receive) -> Message:
        try:
            async with asyncio.timeout_at(deadline):
                return await receive()
        except TimeoutError as error:
            raise BodyTimeoutError(f"the body did not arrive within {self._timeout_s:g} s") from error

    def _require_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise BodyTooLargeError(f"the body is larger than the limit of {self._max_bytes} bytes")


def place_of(request: Request) -> Place:
    """Return the place of a request, to reserve bytes beyond its body."""
    place: Place = request.state.place
    return place


def _require_identity(headers: Headers) -> None:
    named = ", ".join(headers.getlist("content-encoding"))
    if any(encoding.strip().lower() not in {"", "identity"} for encoding in named.split(",")):
        detail = f"the body is encoded as {named}: send it without an encoding"
        raise ContentEncodingError(detail, item="content-encoding")
