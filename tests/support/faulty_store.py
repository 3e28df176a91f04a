"""Services whose Qdrant server is reached through a fault proxy, with the short timeouts of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.gallery_points import make_point
from tests.support.plain_photograph import plain_png
from tests.support.qdrant_rest_server import QdrantRestServer, qdrant_rest_server
from tests.support.query_service import COLOURS, QueryService, tiny_query_service
from tests.support.tiny_query_encoder import tiny_embedding

TIMEOUT_S = 0.5
RETRIES = 1
BACKOFF_S = 0.05
LONGEST_CALL_S = (RETRIES + 1) * TIMEOUT_S + RETRIES * BACKOFF_S
"""After which a call to the store has failed permanently."""


@dataclass(frozen=True)
class FaultyStore:
    """A Qdrant peer behind a proxy.

    Attributes:
        peer: The store.
        proxy: The proxy through which services reach it.
    """

    peer: QdrantRestServer
    proxy: FaultProxy

    @property
    def settings(self) -> StoreSettings:
        return StoreSettings(
            url=self.proxy.url,
            prefer_grpc=False,
            timeout_s=TIMEOUT_S,
            max_retries=RETRIES,
            retry_backoff_s=BACKOFF_S,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The same settings for a process."""
        return {
            "QDRANT_URL": self.proxy.url,
            "QDRANT_PREFER_GRPC": "false",
            "QDRANT_TIMEOUT_S": str(TIMEOUT_S),
            "QDRANT_MAX_RETRIES": str(RETRIES),
            "QDRANT_RETRY_BACKOFF_S": str(BACKOFF_S),
        }

    async def stored(self) -> dict[str, str]:
        """Return the sha256 of each image's content by its id, read without the proxy; every id is there once."""
        found: dict[str, str] = {}
        for collection in (await self.peer.client.get_collections()).collections:
            records, _ = await self.peer.client.scroll(collection.name, limit=10_000)
            payloads = [record.payload or {} for record in records]
            assert len({payload["item_id"] for payload in payloads}) == len(payloads)
            found |= {payload["item_id"]: payload["content_sha256"] for payload in payloads}
        return found

    @asynccontextmanager
    async def query_service(self, directory: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Run the query service on a gallery of COLOURS."""
        service = await self.colour_gallery(directory)
        altered = service.settings.model_copy(update={"store": self.settings, **settings})
        async with QueryService(altered, service.manifest).running() as client:
            yield client

    async def colour_gallery(self, directory: Path) -> QueryService:
        """Write the query service's bundle below a directory, and its gallery into the store."""
        service = tiny_query_service(directory)
        catalogue = await open_catalogue(self.settings.model_copy(update={"timeout_s": 30.0}))
        await catalogue.create(service.manifest.space)
        points = [make_point(name, tiny_embedding(colour)) for name, colour in COLOURS.items()]
        await (await catalogue.collection(service.manifest.space)).upsert(points)
        await catalogue.close()
        return service

    @asynccontextmanager
    async def indexer(self, directory: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
        """Run the indexer with the honest fake of its encoder."""
        bundle = directory / "bundle"
        bundle.mkdir()
        write_dummy_bundle(bundle, dimension=FakeGalleryEncoder.dimension)
        given = IndexerSettings(bundle_path=bundle, store=self.settings, **settings)
        async with serving(create_app(given, load_encoder=load_fake_gallery_encoder)) as client:
            yield client


@asynccontextmanager
async def serving(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Run an indexer in this process."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://indexer", timeout=60) as client,
    ):
        yield client


@asynccontextmanager
async def faulty_store(directory: Path) -> AsyncIterator[FaultyStore]:
    """Run a peer and a proxy."""
    async with qdrant_rest_server(directory) as peer, fault_proxy(peer.port) as proxy:
        yield FaultyStore(peer, proxy)


async def search(client: httpx.AsyncClient, colour: str) -> httpx.Response:
    """Search with a plain photograph of one of COLOURS."""
    return await client.post("/search?limit=1", content=plain_png(COLOURS[colour]))


def nearest(response: httpx.Response) -> str:
    """Return the id of an answer's first hit."""
    assert response.status_code == 200, response.text
    hit: str = response.json()["hits"][0]["id"]
    return hit


def photograph(number: int) -> bytes:
    """Return a photograph that no other number has."""
    return plain_png((number % 256, number // 256, 90))


async def index(client: httpx.AsyncClient, *numbers: int) -> httpx.Response:
    """Index photographs under their numbers."""
    files = [("images", (f"{number}.png", photograph(number))) for number in numbers]
    items = json.dumps([{"id": str(number)} for number in numbers])
    return await client.post("/index", files=files, data={"items": items})


def acknowledged(response: httpx.Response) -> set[str]:
    """Return the ids that a response of the indexer reports as stored; none for a problem."""
    if response.status_code != 200:
        return set()
    return {receipt["id"] for receipt in response.json()["receipts"] if receipt["status"] != "rejected"}


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return status and code of a problem."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    return response.status_code, response.json()["code"]


async def becomes_ready(client: httpx.AsyncClient, within_s: float = 30.0) -> None:
    """Wait until a service reports that it is ready."""
    async with asyncio.timeout(within_s):
        while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - polled: it has no event
            await asyncio.sleep(0.02)
