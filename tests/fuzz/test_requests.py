"""Both services answer a damaged request, never with status 500 or over, and continue."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import httpx
import pytest
from fastapi import FastAPI

from aff_shared.store.embedded.catalogue import QdrantEdgeCatalogue
from aff_shared.store.settings import StoreSettings
from gallery_indexer.app import create_app as create_indexer
from gallery_indexer.settings import IndexerSettings
from query_api.app import create_app as create_query_api
from tests.fuzz.cases import run_cases
from tests.fuzz.mutations import mutated
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.filter_cases import PHOTOGRAPHS
from tests.support.gallery_points import make_point
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png
from tests.support.query_service import MAX_BODY_BYTES, tiny_query_service
from tests.support.tiny_query_encoder import tiny_embedding

BOUNDARY = "boundary"
TYPES = (
    f"multipart/form-data; boundary={BOUNDARY}",
    f'multipart/form-data; boundary="{BOUNDARY}"; charset=utf-16',
    "multipart/form-data; boundary=b",
    "multipart/form-data",
    "image/png",
    "application/json",
    "application/octet-stream",
    "",
)
PHOTOGRAPH = plain_png((255, 0, 0))
WORDS = (
    b"\r\n", b"\n", f"--{BOUNDARY}".encode(), f"--{BOUNDARY}--".encode(), b"Content-Disposition: form-data; name=",
    b'"image"', b'"filter"', b'"limit"', b'"crop"', b'"items"', b'"images"', b"; filename*=utf-8''%ff",
    b'; filename=""',
    b"Content-Transfer-Encoding: base64\r\n", b"charset=utf-7", b"\xff\xfe", b"\0", b"_charset_", b"1e999", b"-1",
    b"NaN", b"0,0,1e308,1e308", b'{"must":[{"key":"year","range":{"gte":-1e308}}]}', b'"\\ud800"', b"[" * 3000,
)  # fmt: skip
OPTIONS = {
    "limit": ("3", "0", "1e3", "9" * 400, "-1", "", "\uff11"),
    "score_threshold": ("0.5", "nan", "inf", "-1e400", "x"),
    "filter": ('{"must": [{"key": "city", "match": "Rome"}]}', '{"must": []}', "[" * 2000, "nul", "\ud800"),
    "group_by": ("city", "at.lat", "..", "\0", "x" * 300),
    "expand": ("1", "2.0", "99999999999"),
    "with_embedding": ("true", "2", "\x85"),
    "crop": ("1,1,20,20", "0,0,0,0", "nan,0,1,1", "1e308,0,1e309,1", "1,2,3", ",,,"),
    "unknown": ("1",),
}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def no_logs() -> Iterator[None]:
    logging.disable()  # pytest would keep them all
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def part(field: str, content: bytes, name: str | None = None) -> bytes:
    file_name = "" if name is None else f'; filename="{name}"'
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{file_name}\r\n\r\n'.encode() + content


def form(*parts: bytes) -> bytes:
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def test_a_damaged_search_is_answered(tmp_path: Path, runner: asyncio.Runner) -> None:
    service = tiny_query_service(tmp_path)

    async def fill() -> None:
        catalogue = await QdrantEdgeCatalogue.open(service.settings.store)
        await catalogue.create(service.manifest.space)
        store = await catalogue.collection(service.manifest.space)
        points = [make_point(name, tiny_embedding((9, 9, 9)), payload) for name, payload in PHOTOGRAPHS.items()]
        await store.upsert(points)
        await catalogue.close()

    runner.run(fill())
    image = part("image", PHOTOGRAPH, "é.png")
    embedding = [float(number) for number in tiny_embedding((255, 0, 0))]
    requested = {"embedding": embedding, "fingerprint": service.manifest.fingerprint, "limit": 3}
    bodies = [
        form(image),
        form(image, part("limit", b"3"), part("filter", b'{"must": [{"key": "open", "match": true}]}')),
        form(image, image, part("crop", b"1,1,20,20"), part("with_embedding", b"true", "blob")),
        PHOTOGRAPH,
        json.dumps(requested).encode(),
        json.dumps({**requested, "filter": {"must": [{"key": "year", "range": {"lt": 1400}}]}, "expand": 2}).encode(),
    ]
    paths = ("/search", "/search/batch", "/search/embedding", "/search/similar/tower", "/search/similar/%ff%00%2e%2e")
    with client_of(create_query_api(service.settings), runner) as ask:
        outcomes = run_cases("searches", 0.12, lambda rng: _answered(rng, ask, bodies, paths))
        answer = ask("/search", PHOTOGRAPH, {"content-type": "image/png"}, {})
        assert answer.status_code == 200
        assert len(answer.json()["hits"]) == 2
    assert {"200", "422"} <= outcomes.keys() or outcomes.total() < 100


def test_damaged_images_are_indexed_or_rejected(tmp_path: Path, runner: asyncio.Runner) -> None:
    write_dummy_bundle(tmp_path, dimension=FakeGalleryEncoder.dimension)
    store = StoreSettings(url="", edge_path=tmp_path / "gallery")
    settings = IndexerSettings(bundle_path=tmp_path, max_body_bytes=MAX_BODY_BYTES, batch_wait_ms=0, store=store)
    catalogue = MemoryGalleryCatalogue(MemoryGalleryStore())
    images = (part("images", PHOTOGRAPH, "a.png"), part("images", plain_png((0, 9, 0)), "b.png"))
    bodies = [
        form(images[0]),
        form(*images, part("items", b'[{"id": "a", "payload": {"n": [1, null, 0.5]}}, {}]')),
        json.dumps({"images": [{"id": "a", "image": "iVBORw0KGgo="}, {"url": "https://x"}, {"path": "../x"}]}).encode(),
        json.dumps({"ids": ["a", "b"]}).encode(),
        json.dumps({"filter": {"must": [{"key": "n", "match": 1}]}}).encode(),
        json.dumps({"images": [{"id": "a", "content_sha256": "0" * 64, "payload": {"n": 1}}]}).encode(),
    ]
    paths = ("/index", "/index", "/images/delete", "/images/lookup")
    app = create_indexer(settings, catalogue, load_encoder=load_fake_gallery_encoder)
    with client_of(app, runner) as ask:

        def case(rng: Random) -> str:
            if rng.random() < 0.02:
                ask("/images/delete", b'{"all": true}', {"content-type": "application/json"}, {})
            return _answered(rng, ask, bodies, paths)

        outcomes = run_cases("indexing", 0.08, case)
        answer = ask("/index", form(images[0]), {"content-type": TYPES[0]}, {})
        assert answer.status_code == 200
        assert answer.json()["rejected"] == 0
    assert {"200", "422"} <= outcomes.keys() or outcomes.total() < 100


Ask = Callable[[str, bytes, dict[str, str], dict[str, str]], httpx.Response]


class client_of:  # noqa: N801 - a context manager
    """Runs an application; a call sends a request."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self._lifespan = app.router.lifespan_context(app)
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
        self._runner = runner

    def __enter__(self) -> Ask:
        self._runner.run(self._enter())
        return self._ask

    def __exit__(self, *_: object) -> None:
        self._runner.run(self._exit())

    async def _enter(self) -> None:
        await self._lifespan.__aenter__()

    async def _exit(self) -> None:
        await self._client.aclose()
        await self._lifespan.__aexit__(None, None, None)

    def _ask(self, path: str, body: bytes, headers: dict[str, str], params: dict[str, str]) -> httpx.Response:
        return self._runner.run(self._client.post(path, content=body, headers=headers, params=params))


def _answered(rng: Random, ask: Ask, bodies: list[bytes], paths: tuple[str, ...]) -> str:
    body = rng.choice(bodies)
    json_type, form_type = "application/json", TYPES[0]
    content_type = json_type if body[:1] == b"{" else "image/png" if body == PHOTOGRAPH else form_type
    if rng.random() < 0.8:
        body = mutated(rng, body, bodies, WORDS)
    if rng.random() < 0.2:
        content_type = rng.choice(TYPES)
    params = {}
    if rng.random() < 0.3:
        name = rng.choice(list(OPTIONS))
        params[name] = rng.choice(OPTIONS[name]).encode(errors="surrogatepass").decode(errors="replace")
    answer = ask(rng.choice(paths), body, {"content-type": content_type}, params)
    document = answer.json() if answer.content else {}
    assert document, (answer.status_code, answer.url, answer.headers)
    assert answer.status_code < 500, (answer.status_code, document)
    assert answer.status_code == 200 or document["status"] == answer.status_code
    return str(answer.status_code)
