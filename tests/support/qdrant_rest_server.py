"""An HTTP server with the part of Qdrant's REST interface that the server adapter uses.

Behind it is qdrant-client's local mode in a directory, so that what was written outlives a restart. The bodies are
parsed and written with the client's own models.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic_core import to_jsonable_python
from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.support.local_qdrant_client import make_local_qdrant_client

FULL_DISK = "Service internal error: No space left on device: WAL buffer size exceeds available disk space"
READ_ONLY = "Forbidden: Global manage access is required"

_Call = Callable[[AsyncQdrantClient, str, Any], Awaitable[Any]]


class QdrantRestServer:
    """The peer, on one port for all its life.

    Attributes:
        port: Where it listens while it runs.
        client: Reads and writes the same data without the network, while it runs.
        disk_is_full: Whether writes of points are answered as by a server that has no room for its log.
        key_is_read_only: Whether every write is answered as by a server whose caller's key may only read.
        calls: Number of requests for each method and path, such as `PUT /collections/{name}/points`.
    """

    client: AsyncQdrantClient

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.port = 0
        self.disk_is_full = False
        self.key_is_read_only = False
        self.calls: Counter[str] = Counter()

    async def start(self) -> None:
        """Open the directory and listen; returns when connections are accepted."""
        self.client = make_local_qdrant_client(self._directory)
        listening = socket.create_server(("127.0.0.1", self.port))
        self.port = listening.getsockname()[1]
        routes = [Route(path, self._endpoint(method, path), methods=[method]) for method, path in _CALLS]
        config = uvicorn.Config(Starlette(routes=routes), lifespan="off", log_config=None, access_log=False)
        self._server = _Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]))
        await self._server.listening.wait()

    async def stop(self) -> None:
        """End at once: what is open is cut, and nothing more is answered."""
        self._server.force_exit = self._server.should_exit = True
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # type: ignore[union-attr] # an HTTP connection, and it is open
        await self._serving
        await self.client.close()

    def _endpoint(self, method: str, path: str) -> Callable[[Request], Awaitable[JSONResponse]]:
        name, call = f"{method} {path}", _CALLS[method, path]

        async def endpoint(request: Request) -> JSONResponse:
            self.calls[name] += 1
            if self.key_is_read_only and name in _WRITES:
                return _refusal(403, READ_ONLY)
            if self.disk_is_full and name in _WRITES_OF_POINTS:
                return _refusal(500, FULL_DISK)
            body = json.loads(await request.body() or b"{}")
            try:
                result = await call(self.client, request.path_params.get("name", ""), body)
            except UnexpectedResponse as error:
                return _refusal(error.status_code or 500, error.content.decode())
            if name == "GET /":
                return JSONResponse(result)
            return JSONResponse({"result": to_jsonable_python(result), "status": "ok", "time": 0.0})

        return endpoint


@asynccontextmanager
async def qdrant_rest_server(directory: Path) -> AsyncIterator[QdrantRestServer]:
    """Run a peer."""
    server = QdrantRestServer(directory)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class _Server(uvicorn.Server):
    """Leaves the process's signals alone, and sets an event when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _refusal(status: int, reason: str) -> JSONResponse:
    return JSONResponse({"status": {"error": reason}, "time": 0.0}, status_code=status)


async def _create(client: AsyncQdrantClient, name: str, body: Any) -> bool:
    asked = models.CreateCollection.model_validate(body)
    if await client.collection_exists(name):
        reason = f"Wrong input: Collection `{name}` already exists!"
        raise UnexpectedResponse(409, "Conflict", reason.encode(), httpx.Headers())
    return await client.create_collection(name, asked.vectors, metadata=asked.metadata)


async def _change_aliases(client: AsyncQdrantClient, _name: str, body: Any) -> bool:
    return await client.update_collection_aliases(models.ChangeAliasesOperation.model_validate(body).actions)


async def _retrieve(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    asked = models.PointRequest.model_validate(body)
    return await client.retrieve(
        name, asked.ids, with_payload=asked.with_payload, with_vectors=asked.with_vector or False
    )


async def _query(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    asked = models.QueryRequest.model_validate(body)
    return await client.query_points(
        name,
        asked.query,
        using=asked.using,
        query_filter=asked.filter,
        limit=asked.limit or 10,
        with_payload=asked.with_payload or False,
        with_vectors=asked.with_vector or False,
        score_threshold=asked.score_threshold,
    )


async def _count(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    return await client.count(name, models.CountRequest.model_validate(body).filter)


async def _scroll(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    asked = models.ScrollRequest.model_validate(body)
    points, following = await client.scroll(
        name,
        asked.filter,
        limit=asked.limit or 10,
        order_by=asked.order_by,
        offset=asked.offset,
        with_payload=asked.with_payload or False,
        with_vectors=asked.with_vector or False,
    )
    return {"points": points, "next_page_offset": following}


async def _facet(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    asked = models.FacetRequest.model_validate(body)
    return await client.facet(name, asked.key, asked.filter, asked.limit or 10, exact=asked.exact or False)


async def _upsert(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    return await client.upsert(name, models.PointsList.model_validate(body).points)


async def _delete(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    kind = models.PointIdsList if "points" in body else models.FilterSelector
    return await client.delete(name, kind.model_validate(body))


async def _set_payload(client: AsyncQdrantClient, name: str, body: Any) -> Any:
    asked = models.SetPayload.model_validate(body)
    return await client.set_payload(name, asked.payload, points=asked.filter or asked.points)


async def _version(_client: AsyncQdrantClient, _name: str, _body: Any) -> Any:
    return {"title": "qdrant - vector search engine", "version": "1.19.0"}


_CALLS: dict[tuple[str, str], _Call] = {
    ("GET", "/"): _version,
    ("GET", "/collections"): lambda client, _name, _body: client.get_collections(),
    ("GET", "/aliases"): lambda client, _name, _body: client.get_aliases(),
    ("POST", "/collections/aliases"): _change_aliases,
    ("PUT", "/collections/{name}"): _create,
    ("PATCH", "/collections/{name}"): lambda client, name, body: client.update_collection(
        name, metadata=body.get("metadata")
    ),
    ("GET", "/collections/{name}"): lambda client, name, _body: client.get_collection(name),
    ("DELETE", "/collections/{name}"): lambda client, name, _body: client.delete_collection(name),
    ("POST", "/collections/{name}/points"): _retrieve,
    ("POST", "/collections/{name}/points/query"): _query,
    ("POST", "/collections/{name}/points/count"): _count,
    ("POST", "/collections/{name}/points/scroll"): _scroll,
    ("POST", "/collections/{name}/facet"): _facet,
    ("PUT", "/collections/{name}/index"): lambda client, name, body: client.create_payload_index(
        name, body["field_name"], body["field_schema"]
    ),
    ("PUT", "/collections/{name}/points"): _upsert,
    ("POST", "/collections/{name}/points/delete"): _delete,
    ("POST", "/collections/{name}/points/payload"): _set_payload,
}
_WRITES_OF_POINTS = {
    "PUT /collections/{name}/points",
    "POST /collections/{name}/points/delete",
    "POST /collections/{name}/points/payload",
}
_WRITES = _WRITES_OF_POINTS | {
    "POST /collections/aliases",
    "PUT /collections/{name}",
    "PUT /collections/{name}/index",
    "PATCH /collections/{name}",
    "DELETE /collections/{name}",
}
