"""A node of a Qdrant server on an address of this machine, over REST and gRPC, that fails as configured.

Its responses and error messages are those of a server of version 1.19.0.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from pydantic_core import to_jsonable_python
from qdrant_client import grpc as qdrant
from qdrant_client import models
from qdrant_client.conversions.conversion import RestToGrpc

VERSION = "1.19.0"
COUNT = 7
_DONE = {"operation_id": 1, "status": "completed"}


@dataclass(frozen=True)
class Refusal:
    """An error response of a server."""

    code: grpc.StatusCode
    status: int
    text: str
    retry_after_s: int | None = None


@dataclass(frozen=True)
class Call:
    """A call that a node received.

    Attributes:
        name: `version`, `info`, `count`, `search`, `retrieve`, `upsert` or `delete`.
        size: Points that are written or read; hits of a search.
        search_ef: Search parameter of that name.
    """

    name: str
    size: int = 0
    search_ef: int | None = None


class QdrantNode:
    """One node.

    Attributes:
        host: Its address.
        path: Path of its REST interface.
        delay_s: How long each answer takes.
        strict_mode: Strict mode of its collection.
        reject: Returns the error response to a call, or None.
        calls: Calls that it received.
        written: Points that it took.
    """

    def __init__(self, host: str = "127.0.0.1", path: str = "") -> None:
        self.host = host
        self.path = path
        self.delay_s = 0.0
        self.strict_mode: models.StrictModeConfigOutput | None = None
        self.reject: Callable[[Call], Refusal | None] = lambda _: None
        self.calls: list[Call] = []
        self.written = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def names(self) -> Counter[str]:
        """How often each call was made."""
        return Counter(call.name for call in self.calls)

    async def start(self, ports: tuple[int, int] = (0, 0), tls: tuple[ssl.SSLContext, Any] | None = None) -> None:
        """Listen for REST and gRPC; `ports` are kept for the next start."""
        self._rest = await asyncio.start_server(self._serve_rest, self.host, ports[0], ssl=tls[0] if tls else None)
        self._grpc = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        qdrant.add_PointsServicer_to_server(_Points(self), self._grpc)
        qdrant.add_CollectionsServicer_to_server(_Collections(self), self._grpc)
        qdrant.add_QdrantServicer_to_server(_Root(self), self._grpc)
        address = f"[{self.host}]:{ports[1]}" if ":" in self.host else f"{self.host}:{ports[1]}"
        port = self._grpc.add_secure_port(address, tls[1]) if tls else self._grpc.add_insecure_port(address)
        await self._grpc.start()
        self.ports = (self._rest.sockets[0].getsockname()[1], port)

    async def stop(self) -> None:
        """End at once: what is open is cut."""
        self._rest.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._grpc.stop(grace=None)

    async def answer(self, call: Call) -> Refusal | None:
        """Record a call, take the configured time, and return its error response, if any."""
        self.calls.append(call)
        await asyncio.sleep(self.delay_s)
        if refusal := self.reject(call):
            return refusal
        if call.name == "upsert":
            self.written += call.size
        return None

    def info(self) -> models.CollectionInfo:
        """Describe the collection."""
        return models.CollectionInfo(
            status=models.CollectionStatus.GREEN,
            optimizer_status=models.OptimizersStatusOneOf.OK,
            segments_count=1,
            payload_schema={},
            config=models.CollectionConfig(
                params=models.CollectionParams(),
                hnsw_config=models.HnswConfig(m=16, ef_construct=100, full_scan_threshold=10_000),
                optimizer_config=models.OptimizersConfig(
                    deleted_threshold=0.2, vacuum_min_vector_number=1000, default_segment_number=0, flush_interval_sec=5
                ),
                wal_config=models.WalConfig(wal_capacity_mb=32, wal_segments_ahead=0),
                strict_mode_config=self.strict_mode,
            ),
        )

    async def _serve_rest(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await reader.readexactly(int(length[1])) if length else b""
                method, path = head.split()[:2]
                writer.write(await self._rest_answer(method, path.partition("?")[0], json.loads(body or b"{}")))
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # the caller has gone, or the test has ended
        finally:
            self._open.discard(writer)
            writer.close()

    async def _rest_answer(self, method: str, path: str, body: dict[str, Any]) -> bytes:
        if not path.startswith(f"{self.path}/"):
            return _http(404, {"status": {"error": "no such path"}, "time": 0.0})
        path = path.removeprefix(self.path)
        name, result = self._rest_call(method, re.sub(r"^/collections/[^/]+", "", path))
        ids = body.get("points", body.get("ids", []))
        call = Call(name, body.get("limit", len(ids)), body.get("params", {}).get("hnsw_ef"))
        if refusal := await self.answer(call):
            wait = "" if refusal.retry_after_s is None else f"retry-after: {refusal.retry_after_s}\r\n"
            return _http(refusal.status, {"status": {"error": refusal.text}, "time": 0.0}, wait)
        return _http(200, result if name == "version" else {"result": result, "status": "ok", "time": 0.0})

    def _rest_call(self, method: str, path: str) -> tuple[str, Any]:
        return {
            ("GET", "/"): ("version", {"title": "qdrant - vector search engine", "version": VERSION}),
            ("GET", ""): ("info", to_jsonable_python(self.info())),
            ("POST", "/points/count"): ("count", {"count": COUNT}),
            ("POST", "/points/query"): ("search", {"points": []}),
            ("POST", "/points"): ("retrieve", []),
            ("PUT", "/points"): ("upsert", _DONE),
            ("POST", "/points/delete"): ("delete", _DONE),
        }[method, path]


def _http(status: int, body: Any, headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} .\r\ncontent-type: application/json\r\n{headers}content-length: {len(content)}\r\n\r\n"
    return head.encode() + content


class _Service:
    def __init__(self, node: QdrantNode) -> None:
        self._node = node

    async def _answer(self, context: Any, call: Call) -> None:
        if refusal := await self._node.answer(call):
            wait = () if refusal.retry_after_s is None else (("retry-after", str(refusal.retry_after_s)),)
            await context.abort(refusal.code, refusal.text, trailing_metadata=wait)


class _Root(_Service, qdrant.QdrantServicer):  # type: ignore[misc]
    async def HealthCheck(self, _request: Any, context: Any) -> Any:
        await self._answer(context, Call("version"))
        return qdrant.HealthCheckReply(title="qdrant - vector search engine", version=VERSION)


class _Collections(_Service, qdrant.CollectionsServicer):  # type: ignore[misc]
    async def Get(self, _request: Any, context: Any) -> Any:
        await self._answer(context, Call("info"))
        info = RestToGrpc.convert_collection_info(self._node.info())
        return qdrant.GetCollectionInfoResponse(result=info)


class _Points(_Service, qdrant.PointsServicer):  # type: ignore[misc]
    async def Count(self, _request: Any, context: Any) -> Any:
        await self._answer(context, Call("count"))
        return qdrant.CountResponse(result=qdrant.CountResult(count=COUNT))

    async def Query(self, request: Any, context: Any) -> Any:
        await self._answer(context, Call("search", request.limit, request.params.hnsw_ef or None))
        return qdrant.QueryResponse()

    async def Get(self, request: Any, context: Any) -> Any:
        await self._answer(context, Call("retrieve", len(request.ids)))
        return qdrant.GetResponse()

    async def Upsert(self, request: Any, context: Any) -> Any:
        await self._answer(context, Call("upsert", len(request.points)))
        return _done()

    async def Delete(self, request: Any, context: Any) -> Any:
        await self._answer(context, Call("delete", len(request.points.points.ids)))
        return _done()


def _done() -> Any:
    result = qdrant.UpdateResult(operation_id=1, status=qdrant.UpdateStatus.Completed)
    return qdrant.PointsOperationResponse(result=result)


@asynccontextmanager
async def qdrant_nodes(*hosts: str) -> AsyncIterator[list[QdrantNode]]:
    """Run nodes on addresses of this machine, all on the same two ports."""
    nodes = [QdrantNode(host) for host in hosts or ("127.0.0.1",)]
    try:
        for node in nodes:
            await node.start(getattr(nodes[0], "ports", (0, 0)))
        yield nodes
    finally:
        for node in nodes:
            if hasattr(node, "ports"):
                await node.stop()
