from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.images import bomb_png, jpeg_bytes, png_bytes, quarters
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem
from tests.support.query_service import MAX_BODY_BYTES, MAX_LIMIT

RED = plain_png((255, 0, 0))
WARM = json.dumps({"must": [{"key": "warm", "match": True}]})

pytestmark = pytest.mark.anyio


async def _search(client: httpx.AsyncClient, image: bytes = RED, name: str = "red.png", **options: Any) -> list[Any]:
    response = await client.post("/search", files={"image": (name, image)}, **options)
    assert response.status_code == 200, response.text
    hits: list[Any] = response.json()["hits"]
    return hits


async def _rejected(client: httpx.AsyncClient, status: int, code: str, item: str | None, **request: Any) -> str:
    """Require a problem, and that the service then continues; return the problem's detail."""
    problem = require_problem(await client.post("/search", **request), status, code, item)
    assert (await _search(client))[0]["id"] == "red"
    detail: str = problem["detail"]
    return detail


async def test_a_photograph_as_a_field_of_a_form_finds_its_like(client: httpx.AsyncClient) -> None:
    hits = await _search(client)
    assert (hits[0]["id"], hits[0]["payload"]) == ("red", {"warm": True})
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("content_type", ["image/png", "image/jpeg", "Application/Octet-Stream", None])
async def test_a_photograph_as_the_body_finds_the_same(client: httpx.AsyncClient, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    response = await client.post("/search", content=RED, headers=headers)
    assert response.status_code == 200
    assert response.json()["hits"] == await _search(client)


async def test_a_search_without_a_limit_uses_the_default(client: httpx.AsyncClient) -> None:
    assert len(await _search(client)) == 2


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({"limit": "1"}, {"red"}),
        ({"limit": str(MAX_LIMIT)}, {"red", "green", "blue", "white"}),
        ({"score_threshold": "0.999"}, {"red"}),
        ({"filter": WARM}, {"red"}),
        ({"filter": "", "limit": "4"}, {"red", "green", "blue", "white"}),
    ],
)
async def test_an_option_means_the_same_in_the_query_and_in_the_form(
    client: httpx.AsyncClient, options: dict[str, str], ids: set[str]
) -> None:
    assert {hit["id"] for hit in await _search(client, params=options)} == ids
    assert {hit["id"] for hit in await _search(client, data=options)} == ids
    response = await client.post("/search", content=RED, headers={"content-type": "image/png"}, params=options)
    assert {hit["id"] for hit in response.json()["hits"]} == ids


async def test_options_may_be_spread_over_query_and_form(client: httpx.AsyncClient) -> None:
    assert [hit["id"] for hit in await _search(client, params={"limit": 4}, data={"filter": WARM})] == ["red"]


async def test_a_filter_may_be_sent_as_a_file(client: httpx.AsyncClient) -> None:
    files = {"image": ("red.png", RED), "filter": ("filter.json", WARM.encode(), "application/json")}
    response = await client.post("/search", files=files)
    assert [hit["id"] for hit in response.json()["hits"]] == ["red"]


@pytest.mark.parametrize(
    ("crop", "found"),
    [("0,0,32,32", "red"), ("32,0,64,32", "green"), ("0,32,32,64", "blue"), ("32,32,64,64", "white")],
)
async def test_a_crop_searches_with_that_region_alone(client: httpx.AsyncClient, crop: str, found: str) -> None:
    hits = await _search(client, png_bytes(quarters(64)), "quarters.png", params={"crop": crop, "limit": 1})
    assert hits[0]["id"] == found
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        pytest.param(b"", 422, "image_empty", id="empty file"),
        pytest.param(b"Dear diary, today I saw a tower.", 415, "image_unsupported", id="text named .jpg"),
        pytest.param(jpeg_bytes()[:500], 422, "image_truncated", id="truncated JPEG"),
        pytest.param(plain_png((1, 2, 3), width=1, height=1), 422, "image_too_small", id="1x1"),
        pytest.param(bomb_png(), 413, "image_too_many_pixels", id="bomb"),
    ],
)
async def test_a_bad_photograph_is_rejected_by_its_name(
    client: httpx.AsyncClient, image: bytes, status: int, code: str
) -> None:
    await _rejected(client, status, code, "holiday.jpg", files={"image": ("holiday.jpg", image)})
    await _rejected(client, status, code, "body", content=image, headers={"content-type": "image/jpeg"})


async def test_a_photograph_that_the_encoder_cannot_embed_is_rejected_by_its_name(client: httpx.AsyncClient) -> None:
    black = plain_png((0, 0, 0))
    await _rejected(client, 500, "encoder_failed", "night.png", files={"image": ("night.png", black)})


async def test_a_request_without_body_and_content_type_has_an_empty_image(client: httpx.AsyncClient) -> None:
    await _rejected(client, 422, "image_empty", "body")


@pytest.mark.parametrize(
    ("options", "code", "item"),
    [
        ({"limit": "0"}, "parameter_invalid", "limit"),
        ({"limit": "-1"}, "parameter_invalid", "limit"),
        ({"limit": "1000000000"}, "parameter_invalid", "limit"),
        ({"limit": str(MAX_LIMIT + 1)}, "parameter_invalid", "limit"),
        ({"limit": "9" * 5000}, "parameter_invalid", "limit"),
        ({"limit": "many"}, "parameter_invalid", "limit"),
        ({"limit": ""}, "parameter_invalid", "limit"),
        ({"score_threshold": "nan"}, "parameter_invalid", "score_threshold"),
        ({"score_threshold": "inf"}, "parameter_invalid", "score_threshold"),
        ({"score_threshold": "-inf"}, "parameter_invalid", "score_threshold"),
        ({"score_threshold": "1.5"}, "parameter_invalid", "score_threshold"),
        ({"filter": "warm = true"}, "filter_invalid", "filter"),
        ({"filter": "{}"}, "filter_invalid", "filter"),
        ({"filter": '{"must": [{"key": "warm", "match": true}], "may": []}'}, "filter_invalid", "filter"),
        ({"filter": '{"must": [{"key": "warm", "equals": true}]}'}, "filter_invalid", "filter"),
        ({"crop": "1,2,3"}, "crop_invalid", "crop"),
        ({"crop": "left,top,right,bottom"}, "crop_invalid", "crop"),
        ({"crop": ""}, "crop_invalid", "crop"),
        ({"crop": "nan,0,8,8"}, "crop_invalid", "crop"),
        ({"crop": "8,8,8,8"}, "crop_invalid", "crop"),
        ({"crop": "0,0,33,24"}, "crop_invalid", "crop"),
        ({"limits": "5"}, "parameter_invalid", "limits"),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_a_bad_option_is_rejected_by_its_name_in_the_query_and_in_the_form(
    client: httpx.AsyncClient, options: dict[str, str], code: str, item: str
) -> None:
    image = {"image": ("red.png", RED)}
    await _rejected(client, 422, code, item, files=image, params=options)
    await _rejected(client, 422, code, item, files=image, data=options)


async def test_the_description_of_a_limit_has_the_maximum(client: httpx.AsyncClient) -> None:
    detail = await _rejected(
        client, 422, "parameter_invalid", "limit", files={"image": RED}, params={"limit": MAX_LIMIT + 1}
    )
    assert detail == "at most 20, not 21"


@pytest.mark.parametrize(
    "request_options",
    [
        {"params": {"limit": 1}, "data": {"limit": 1}},
        {"params": [("limit", 1), ("limit", 2)]},
        {"data": {"limit": ["1", "2"]}},
    ],
    ids=["query and form", "twice in the query", "twice in the form"],
)
async def test_an_option_that_is_given_twice_is_rejected(
    client: httpx.AsyncClient, request_options: dict[str, Any]
) -> None:
    await _rejected(client, 422, "parameter_invalid", "limit", files={"image": RED}, **request_options)


async def test_a_crop_of_several_images_is_rejected(client: httpx.AsyncClient) -> None:
    files = [("image", ("a.png", RED)), ("image", ("b.png", RED))]
    detail = await _rejected(client, 422, "parameter_invalid", "crop", files=files, params={"crop": "0,0,9,9"})
    assert detail == "a crop applies to one image, and several were sent"


async def test_a_heap_of_images_is_rejected_unread(client: httpx.AsyncClient) -> None:
    files = [("image", (f"{number}.png", RED)) for number in range(40)]
    await _rejected(client, 413, "too_many_images", None, files=files)


async def test_a_form_without_an_image_is_rejected(client: httpx.AsyncClient) -> None:
    await _rejected(client, 422, "parameter_invalid", "image", files={"filter": ("filter.json", WARM)})


async def test_an_image_sent_as_text_is_rejected_with_advice(client: httpx.AsyncClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\nred.png\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    detail = await _rejected(client, 422, "parameter_invalid", "image", content=body, headers=headers)
    assert "filename" in detail


async def test_an_upload_without_a_file_name_is_called_image(client: httpx.AsyncClient) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="image"; filename=""\r\n\r\nno image\r\n--b--\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    await _rejected(client, 415, "image_unsupported", "image", content=body, headers=headers)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "multipart/form-data; boundary=b", "multipart/form-data; boundary="]
)
async def test_a_malformed_form_is_rejected(client: httpx.AsyncClient, content_type: str) -> None:
    response = await client.post("/search", content=RED, headers={"content-type": content_type})
    assert response.headers["content-type"] == "application/problem+json"
    assert response.status_code in {400, 422}
    assert len(await _search(client)) == 2


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
async def test_another_content_type_is_rejected_with_the_supported_ones(
    client: httpx.AsyncClient, content_type: str
) -> None:
    detail = await _rejected(
        client, 400, "request_malformed", "content-type", content=RED, headers={"content-type": content_type}
    )
    assert "multipart/form-data" in detail


async def test_a_body_over_the_limit_is_rejected(client: httpx.AsyncClient) -> None:
    too_large = bytes(MAX_BODY_BYTES + 1)
    await _rejected(client, 413, "body_too_large", None, files={"image": ("large.png", too_large)})
    await _rejected(client, 413, "body_too_large", None, content=too_large, headers={"content-type": "image/png"})


async def test_a_chunked_body_over_the_limit_is_rejected(client: httpx.AsyncClient) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield bytes(MAX_BODY_BYTES // 2)

    await _rejected(client, 413, "body_too_large", None, content=chunks(), headers={"content-type": "image/png"})


async def test_text_that_utf8_cannot_encode_breaks_nothing(client: httpx.AsyncClient) -> None:
    image = b'--b\r\nContent-Disposition: form-data; name="image"; filename="+2AA-.png"\r\n\r\n' + RED + b"\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b; charset=utf-7"}
    for field, item in (("filter", "filter"), ("limit", "limit"), ("+2AA-", "?")):
        option = b'--b\r\nContent-Disposition: form-data; name="' + field.encode() + b'"\r\n\r\n+2AA-\r\n--b--\r\n'
        response = await client.post("/search", content=image + option, headers=headers)
        assert (response.status_code, response.json()["item"]) == (422, item)
