"""A gRPC server with Qdrant's protocol that fails as configured, and then counts seven points."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from qdrant_client import grpc as qdrant


class FlakyPoints(qdrant.PointsServicer):  # type: ignore[misc]
    """Answers `Count`.

    Attributes:
        failures: Status codes of the next answers; when they are used up, the answer is 7.
        delay_s: How long every answer takes.
        calls: Metadata of each call so far.
    """

    def __init__(self) -> None:
        self.failures: list[grpc.StatusCode] = []
        self.delay_s = 0.0
        self.calls: list[Sequence[tuple[str, str]]] = []

    async def Count(self, _request: Any, context: Any) -> Any:
        self.calls.append(context.invocation_metadata())
        await asyncio.sleep(self.delay_s)
        if self.failures:
            await context.abort(self.failures.pop(0), "as told")
        return qdrant.CountResponse(result=qdrant.CountResult(count=7))


@asynccontextmanager
async def flaky_qdrant_server() -> AsyncIterator[tuple[FlakyPoints, int]]:
    """Serve on a free port of this machine; yields the servicer and the port."""
    points = FlakyPoints()
    server = grpc.aio.server()
    qdrant.add_PointsServicer_to_server(points, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield points, port
    finally:
        await server.stop(grace=None)
