"""A gallery changes its model while it is searched and indexed: no error, no mixture, nothing lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.schemas.preprocessing import Preprocessing
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from gallery_indexer.app import create_app as create_indexer_app
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput
from gallery_indexer.settings import IndexerSettings
from query_api.app import create_app as create_query_app
from query_api.settings import QuerySettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.plain_photograph import plain_png
from tests.support.tiny_query_encoder import tiny_embedding, tiny_query_encoder

COLOURS = {"red": (250, 10, 10), "green": (10, 250, 10), "blue": (10, 10, 250), "grey": (90, 90, 90)}
DIMENSIONS = {"old": 8, "new": 6}
KNOWN = json.dumps({"must": [{"key": "known", "match": True}]})

pytestmark = pytest.mark.anyio


class _GalleryEncoder:
    """Embeds a plain photograph as the tiny query encoder of its bundle does."""

    preprocessings = (Preprocessing(resize="longest_side", size=4096),)

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        assert not with_features
        return [EncodedImage(_embedding(tuple(image[0][0, 0]), self._dimension), ("eye",)) for image in images]


def _embedding(colour: tuple[int, int, int], dimension: int) -> NDArray[np.float32]:
    part = tiny_embedding(colour)[:dimension]
    return part / np.linalg.norm(part)


def _load(bundle_directory: Path, manifest: BundleManifest, *, device: str) -> _GalleryEncoder:
    return _GalleryEncoder(manifest.space.dimension)


@dataclass
class _Searches:
    """Responses to a loop of searches, by the bundle that served them."""

    client: httpx.AsyncClient
    expected: dict[str, list[tuple[str, float]]]
    answers: Counter[str] = field(default_factory=Counter)
    ended: bool = False

    async def run(self) -> None:
        while not self.ended:
            response = await self.client.post("/search", content=plain_png(COLOURS["red"]), params={"filter": KNOWN})
            assert response.status_code == 200, response.text
            answer = response.json()
            expected = self.expected[answer["fingerprint"]]
            hits = {hit["id"]: hit["score"] for hit in answer["hits"]}
            assert list(hits) == [name for name, _ in expected]
            assert list(hits.values()) == pytest.approx([score for _, score in expected], abs=1e-5)
            self.answers[answer["fingerprint"]] += 1

    async def until_answered_by(self, fingerprint: str) -> None:
        seen = self.answers[fingerprint]
        async with asyncio.timeout(30):
            while self.answers[fingerprint] < seen + 20:  # noqa: ASYNC110 - polled: the loop of searches has no event
                await asyncio.sleep(0.01)


def _expected(dimension: int) -> list[tuple[str, float]]:
    query = _embedding(COLOURS["red"], dimension)
    scores = {name: float(_embedding(colour, dimension) @ query) for name, colour in COLOURS.items()}
    return sorted(scores.items(), key=lambda pair: -pair[1])


@asynccontextmanager
async def _client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://aff") as client,
    ):
        yield client


async def _index(client: httpx.AsyncClient, images: dict[str, bytes], *, known: bool) -> dict[str, int]:
    items = json.dumps([{"id": name, "payload": {"known": known}} for name in images])
    files = [("images", (name, data)) for name, data in images.items()]
    answer = (await client.post("/index", files=files, data={"items": items})).json()
    assert answer["rejected"] == 0, answer
    return answer


async def _ids(directory: Path) -> dict[str, set[str]]:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=directory))
    try:
        found = {}
        for collection in await catalogue.collections():
            page = await (await catalogue.collection(collection.space)).scroll(limit=10_000)
            found[collection.space.id] = {point.record.item_id for point in page.points}
        return found
    finally:
        await catalogue.close()


async def _arriving(client: httpx.AsyncClient, arrived: list[str], ended: asyncio.Event) -> None:
    """Index new photographs, one after the other, whatever happens to the gallery."""
    while not ended.is_set():
        number = len(arrived)
        image = plain_png((number % 256, number // 256, 77))
        assert (await _index(client, {f"new-{number}": image}, known=False))["indexed"] == 1
        arrived.append(f"new-{number}")
        await asyncio.sleep(0)


async def test_searches_and_indexing_go_on_while_the_model_changes_and_changes_back(tmp_path: Path) -> None:
    manifests = {}
    for name, dimension in DIMENSIONS.items():
        (tmp_path / name).mkdir()
        encoder = tiny_query_encoder(dimension=dimension)
        manifests[name] = write_dummy_bundle(
            tmp_path / name, dimension=dimension, query_encoder=encoder, mixer=name.encode()
        )
    old, new = manifests["old"], manifests["new"]
    gallery = await open_catalogue(StoreSettings(url="", edge_path=tmp_path / "gallery"))
    indexer_settings = IndexerSettings(bundle_path=tmp_path / "old", catalogue_interval_s=0.05)
    query_settings = QuerySettings(bundle_path=tmp_path / "old", space_check_interval_s=0.05)
    async with (
        _client(create_indexer_app(indexer_settings, gallery, load_encoder=_load)) as indexer,
        _client(create_query_app(query_settings, gallery)) as query,
    ):
        known = {name: plain_png(colour) for name, colour in COLOURS.items()}
        await _index(indexer, known, known=True)
        searches = _Searches(
            query, {manifest.fingerprint: _expected(manifest.space.dimension) for manifest in manifests.values()}
        )
        arrived: list[str] = []
        ended = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            loops = [group.create_task(searches.run()) for _ in range(3)]
            arriving = group.create_task(_arriving(indexer, arrived, ended))
            await searches.until_answered_by(old.fingerprint)

            assert (await indexer.post("/gallery/collections", json={"bundle": "new"})).status_code == 201
            before = list(arrived)
            job = (await indexer.post("/gallery/verify", json={"space": new.space.id[:12]})).json()
            while job["state"] == "running":
                await asyncio.sleep(0.01)
                job = (await indexer.get(f"/gallery/jobs/{job['id']}")).json()
            assert job["result"]["missing"] >= len(known)
            await _index(indexer, known, known=True)
            await searches.until_answered_by(old.fingerprint)

            assert (await indexer.post("/gallery/live", json={"space": new.space.id})).status_code == 200
            await searches.until_answered_by(new.fingerprint)
            assert (await indexer.post("/gallery/live", json={"space": old.space.id})).status_code == 200
            await searches.until_answered_by(old.fingerprint)
            assert (await indexer.post("/gallery/live", json={"space": new.space.id})).status_code == 200
            assert (await indexer.delete(f"/gallery/collections/{old.space.id}")).status_code == 204
            await searches.until_answered_by(new.fingerprint)

            searches.ended = True
            ended.set()
            await asyncio.gather(*loops, arriving)
        (collection,) = (await indexer.get("/gallery")).json()["collections"]
        assert collection["bundle"] == "dummy"
        assert collection["space"]["id"] == new.space.id
    await gallery.close()
    kept = (await _ids(tmp_path / "gallery"))[new.space.id]
    assert set(known) | set(arrived[len(before) + 1 :]) <= kept
    print(f"searches {dict(searches.answers)}, images that arrived meanwhile {len(arrived)}")  # noqa: T201 - with -s
