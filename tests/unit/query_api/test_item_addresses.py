"""Every image of the gallery can be requested by its id, through the client and behind a proxy."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from aff_client import search_calls as calls
from aff_client.service_client import Call
from tests.support.awkward_ids import ADDRESSABLE, REFUSED, behind_proxy
from tests.support.gallery_points import make_point
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.problems import require_problem
from tests.support.query_service import QueryService
from tests.support.tiny_query_encoder import tiny_embedding

pytestmark = pytest.mark.anyio


@pytest.fixture
async def proxied(service: QueryService, gallery: MemoryGalleryStore) -> AsyncIterator[httpx.AsyncClient]:
    """The service with an image of every awkward id; those of an earlier release are among them."""
    points = [make_point(item_id, tiny_embedding((250, 5, 5))) for item_id in (*ADDRESSABLE, *REFUSED)]
    await gallery.upsert([type(point)(point.record, point.embedding, b"RIFF....WEBP") for point in points])
    async with service.running(MemoryGalleryCatalogue(gallery), wrapped=behind_proxy) as client:
        yield client


async def _ask(client: httpx.AsyncClient, call: Call[object]) -> object:
    answer = await client.request(call.method, call.path, **call.options)
    assert answer.status_code == 200, answer.text
    return call.read(answer.content)


async def test_an_image_of_any_id_is_got_shown_and_searched_with(proxied: httpx.AsyncClient) -> None:
    for item_id in (*ADDRESSABLE, *REFUSED):
        assert (await _ask(proxied, calls.image(item_id))).id == item_id  # type: ignore[attr-defined]
        assert await _ask(proxied, calls.thumbnail(item_id)) == b"RIFF....WEBP"
        found = await _ask(proxied, calls.search_similar(item_id, {"limit": 20}))
        assert item_id not in [hit.id for hit in found.hits]  # type: ignore[attr-defined]


@pytest.mark.parametrize("asked", ["Zu\u0308rich/日本 ☃.jpg", "Z\u00fcrich/日本 ☃.jpg"])
async def test_an_id_is_found_in_either_normalisation(proxied: httpx.AsyncClient, asked: str) -> None:
    kept = "Z\u00fcrich/日本 ☃.jpg"
    assert (await _ask(proxied, calls.image(asked))).id == kept  # type: ignore[attr-defined]
    assert await _ask(proxied, calls.thumbnail(asked)) == b"RIFF....WEBP"
    found = await _ask(proxied, calls.search_similar(asked, {"limit": 20}))
    assert kept not in [hit.id for hit in found.hits]  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", ["/images/red%0A", "/images/red/thumbnail%0A", "/images/red%0D%0A", "/images/red%00"])
async def test_a_line_break_behind_an_id_does_not_lead_to_another_image(client: httpx.AsyncClient, path: str) -> None:
    require_problem(await client.get(path), 422, "parameter_invalid", "item_id")


async def test_the_id_of_a_path_is_given_once(client: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/search/similar/red?id=blue"), ("GET", "/images/red?id=blue")):
        require_problem(await client.request(method, path), 422, "parameter_invalid", "item_id")
    require_problem(await client.post("/search/similar"), 422, "parameter_invalid", "id")


async def test_both_addresses_are_documented(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    for path, method in (
        ("/images", "get"),
        ("/thumbnails", "get"),
        ("/search/similar", "post"),
        ("/originals", "get"),
    ):
        (parameter,) = [one for one in paths[path][method]["parameters"] if one["name"] == "id"]
        required = path != "/images"  # which lists all without an id
        assert (parameter["in"], parameter["required"], parameter["schema"]["maxLength"]) == ("query", required, 512)
    for path, method in (("/images/{item_id}", "get"), ("/search/similar/{item_id}", "post")):
        assert [one["in"] for one in paths[path][method]["parameters"] if one["name"] == "item_id"] == ["path"]
