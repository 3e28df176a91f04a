from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem
from tests.support.query_service import MAX_LIMIT, QueryService
from tests.support.tiny_query_encoder import DIMENSION, tiny_embedding

RED, BLUE = plain_png((255, 0, 0)), plain_png((0, 0, 255))
RED_EMBEDDING = [float(number) for number in tiny_embedding((255, 0, 0))]

pytestmark = pytest.mark.anyio


def _ids(response: httpx.Response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["id"] for hit in response.json()["hits"]]


async def test_several_photographs_are_one_query_by_their_mean(client: httpx.AsyncClient) -> None:
    files = [("image", ("red.png", RED)), ("image", ("blue.png", BLUE))]
    response = await client.post("/search", files=files, params={"with_embedding": True, "limit": 2})
    assert response.status_code == 200
    mean = tiny_embedding((255, 0, 0)) + tiny_embedding((0, 0, 255))
    np.testing.assert_allclose(response.json()["embedding"], mean / np.linalg.norm(mean), atol=1e-5)


async def test_each_photograph_of_a_batch_is_searched_with_by_itself(client: httpx.AsyncClient) -> None:
    files = [("image", ("red.png", RED)), ("image", ("bad.png", b"no image")), ("image", ("blue.png", BLUE))]
    response = await client.post("/search/batch", files=files, data={"limit": "1"})
    red, bad, blue = response.json()["results"]
    assert [red["name"], bad["name"], blue["name"]] == ["red.png", "bad.png", "blue.png"]
    assert [hit["id"] for hit in red["result"]["hits"]] == ["red"]
    assert [hit["id"] for hit in blue["result"]["hits"]] == ["blue"]
    assert bad["result"] is None
    assert (bad["error"]["code"], bad["error"]["item"]) == ("image_unsupported", "bad.png")
    assert red["error"] is None


async def test_an_embedding_finds_what_its_photograph_finds(client: httpx.AsyncClient, service: QueryService) -> None:
    by_photograph = await client.post("/search", files={"image": RED}, params={"with_embedding": True})
    embedding = by_photograph.json()["embedding"]
    encoded = base64.b64encode(np.asarray(embedding, "<f4").tobytes()).decode()
    for form in (embedding, encoded, encoded.rstrip("=").translate({43: "-", 47: "_"})):
        body = {"embedding": form, "fingerprint": service.manifest.fingerprint}
        response = await client.post("/search/embedding", json=body)
        assert _ids(response) == _ids(by_photograph)
        assert response.json()["hits"][0]["score"] == pytest.approx(by_photograph.json()["hits"][0]["score"], abs=1e-6)
        assert response.json()["timings_ms"]["encode"] == 0


async def test_a_search_by_embedding_takes_the_options_of_a_search(
    client: httpx.AsyncClient, service: QueryService
) -> None:
    body: dict[str, Any] = {"embedding": RED_EMBEDDING, "fingerprint": service.manifest.fingerprint}
    warm = {"must": [{"key": "warm", "match": False}]}
    assert "red" not in _ids(await client.post("/search/embedding", json={**body, "filter": warm, "limit": 20}))
    assert _ids(await client.post("/search/embedding", json={**body, "group_by": "warm", "limit": 20}))[0] == "red"
    assert len(_ids(await client.post("/search/embedding", json={**body, "group_by": "warm", "limit": 20}))) == 2
    assert _ids(await client.post("/search/embedding", json={**body, "score_threshold": 0.999})) == ["red"]
    assert _ids(await client.post("/search/embedding", json={**body, "expand": 1, "limit": 1})) == ["red"]


@pytest.mark.parametrize(
    ("change", "status", "code", "item"),
    [
        ({"fingerprint": "0" * 64}, 409, "encoder_mismatch", "fingerprint"),
        ({"fingerprint": "none"}, 422, "parameter_invalid", "fingerprint"),
        ({"embedding": [1.0]}, 422, "embedding_invalid", "embedding"),
        ({"embedding": [*RED_EMBEDDING, 0.0]}, 422, "embedding_invalid", "embedding"),
        ({"embedding": [0.5 * number for number in RED_EMBEDDING]}, 422, "embedding_invalid", "embedding"),
        ({"embedding": [0.0] * DIMENSION}, 422, "embedding_invalid", "embedding"),
        ({"embedding": [1e300] * DIMENSION}, 422, "embedding_invalid", "embedding"),
        ({"embedding": [float("nan")] * DIMENSION}, 422, "parameter_invalid", "embedding.0"),
        ({"embedding": [float("inf")] * DIMENSION}, 422, "parameter_invalid", "embedding.0"),
        ({"embedding": []}, 422, "parameter_invalid", "embedding"),
        ({"embedding": "no base64!"}, 422, "parameter_invalid", "embedding"),
        ({"embedding": "AAA="}, 422, "parameter_invalid", "embedding"),
        ({"embedding": base64.b64encode(b"\xff" * 4 * DIMENSION).decode()}, 422, "parameter_invalid", "embedding.0"),
        ({"embedding": None}, 422, "parameter_invalid", "embedding"),
        ({"limit": MAX_LIMIT + 1}, 422, "parameter_invalid", "limit"),
        ({"limits": 1}, 422, "parameter_invalid", "limits"),
        ({"filter": {"must": []}}, 422, "parameter_invalid", "filter"),
    ],
    ids=lambda value: str(value)[:50],
)
async def test_a_bad_embedding_search_is_rejected_by_what_is_at_fault(
    client: httpx.AsyncClient, service: QueryService, change: dict[str, Any], status: int, code: str, item: str
) -> None:
    body = {"embedding": RED_EMBEDDING, "fingerprint": service.manifest.fingerprint, **change}
    response = await client.post(
        "/search/embedding", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    require_problem(response, status, code, item)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"filter": ' * 10_000,
        pytest.param(json.dumps({"embedding": [0.1] * 30_000}).encode(), id="many"),
    ],
    ids=lambda body: repr(body)[:20],
)
async def test_a_body_of_another_form_is_rejected(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/search/embedding", content=body, headers={"content-type": "application/json"})
    assert response.status_code in {400, 413, 422}
    assert response.headers["content-type"] == "application/problem+json"
    assert _ids(await client.post("/search", files={"image": RED}))[0] == "red"


async def test_what_is_like_a_gallery_image_is_found_without_that_image(client: httpx.AsyncClient) -> None:
    response = await client.post("/search/similar/red", params={"limit": 3})
    assert "red" not in _ids(response)
    assert len(_ids(response)) == 3
    scores = [hit["score"] for hit in response.json()["hits"]]
    expected = sorted((float(tiny_embedding((255, 0, 0)) @ tiny_embedding(colour)) for colour in _OTHERS), reverse=True)
    assert scores == pytest.approx(expected, abs=1e-5)


_OTHERS = [(0, 255, 0), (0, 0, 255), (255, 255, 255)]


async def test_an_id_with_slashes_can_be_searched_with(service: QueryService, gallery: MemoryGalleryStore) -> None:
    point = (await gallery.fetch(["red"]))["red"]
    record = type(point.record)(**{**_fields(point.record), "item_id": "a/b c.jpg"})
    await gallery.upsert([type(point)(record, point.embedding)])
    async with service.running(gallery) as client:
        response = await client.post("/search/similar/a/b%20c.jpg", params={"limit": 1})
    assert _ids(response) == ["red"]


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in record.__slots__}


async def test_a_gallery_image_that_is_not_there_is_named(client: httpx.AsyncClient) -> None:
    require_problem(await client.post("/search/similar/nobody"), 404, "image_not_found", "nobody")


@pytest.mark.parametrize(
    ("options", "item"), [({"limit": 0}, "limit"), ({"crop": "0,0,9,9"}, "crop"), ({"expand": -1}, "expand")]
)
async def test_a_bad_option_of_a_similar_search_is_rejected(
    client: httpx.AsyncClient, options: dict[str, Any], item: str
) -> None:
    require_problem(await client.post("/search/similar/red", params=options), 422, "parameter_invalid", item)
