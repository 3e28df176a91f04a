from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import io
import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import minisign
import numpy as np
import pytest
from PIL import ExifTags, Image

from aff_shared.bundles.bundle import BundleManifest
from aff_shared.errors import BundleIntegrityError, BundleNotFoundError, MissingExtraError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import AccessKey, AccessSettings, Scope
from gallery_indexer.app import create_app
from gallery_indexer.features.image_encoder import ImageEncoder
from gallery_indexer.settings import IndexerSettings
from tests.support.awkward_ids import ADDRESSABLE, REFUSED, behind_proxy
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.images import bomb_png, encode
from tests.support.interruptible_gallery_store import InterruptibleGalleryStore
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png

RED, GREEN, BLUE = plain_png((255, 0, 0)), plain_png((0, 255, 0)), plain_png((0, 0, 255))
MAX_BODY_BYTES = 200_000
MAX_IMAGES = 3

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class _Bundle:
    path: Path
    manifest: BundleManifest


@pytest.fixture
def bundle(tmp_path: Path) -> _Bundle:
    path = tmp_path / "bundle"
    path.mkdir()
    return _Bundle(path, write_dummy_bundle(path, dimension=FakeGalleryEncoder.dimension))


def _settings(bundle: _Bundle, **others: Any) -> IndexerSettings:
    defaults = {"max_payload_bytes": 100, "store": StoreSettings(edge_path=bundle.path.parent / "gallery")}
    return IndexerSettings(
        **{**defaults, **others},
        bundle_path=bundle.path,
        max_body_bytes=MAX_BODY_BYTES,
        max_images_per_request=MAX_IMAGES,
    )


@asynccontextmanager
async def _service(
    bundle: _Bundle,
    gallery: MemoryGalleryStore | None = None,
    *,
    encoder: ImageEncoder | None = None,
    proxied: bool = False,
    **settings: Any,
) -> AsyncIterator[httpx.AsyncClient]:
    def load(bundle_directory: Path, manifest: BundleManifest, *, device: str) -> ImageEncoder:
        return encoder or FakeGalleryEncoder()

    catalogue = None if gallery is None else MemoryGalleryCatalogue(gallery)
    app = create_app(_settings(bundle, **settings), catalogue, load_encoder=load)
    transport = httpx.ASGITransport(app=behind_proxy(app) if proxied else app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://indexer") as client,
    ):
        yield client


@pytest.fixture
async def client(bundle: _Bundle) -> AsyncIterator[httpx.AsyncClient]:
    async with _service(bundle, MemoryGalleryStore()) as client:
        yield client


def _files(*images: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("images", (f"{index}.png", image)) for index, image in enumerate(images)]


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode()


async def _require_problem(response: httpx.Response, status: int, code: str, item: str | None = None) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (response.status_code, problem["code"], problem["item"]) == (status, code, item)
    return problem


async def _require_working(client: httpx.AsyncClient) -> None:
    response = await client.post("/index", files=_files(plain_png((9, 9, 9))))
    assert response.status_code == 200
    assert response.json()["rejected"] == 0


async def test_a_form_of_images_is_answered_with_receipts_in_order_and_their_sums(
    client: httpx.AsyncClient,
) -> None:
    items = [{"id": "red", "payload": {"colour": "red"}}, {"id": "empty"}, {}]
    response = await client.post("/index", files=_files(RED, b"", BLUE), data={"items": json.dumps(items)})
    assert response.status_code == 200
    answer = response.json()
    assert [(one["index"], one["id"], one["name"], one["status"]) for one in answer["receipts"]] == [
        (0, "red", "0.png", "indexed"),
        (1, "empty", "1.png", "rejected"),
        (2, hashlib.sha256(BLUE).hexdigest(), "2.png", "indexed"),
    ]
    assert answer["receipts"][1]["error"]["code"] == "image_empty"
    assert answer["receipts"][1]["error"]["item"] == "1.png"
    assert {key: answer[key] for key in ("indexed", "updated", "duplicate", "rejected")} == {
        "indexed": 2,
        "updated": 0,
        "duplicate": 0,
        "rejected": 1,
    }


async def test_no_image_of_a_truncated_form_is_indexed(client: httpx.AsyncClient) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="images"; filename="%d.png"\r\n\r\n%s\r\n'
    form = part % (1, RED) + part % (2, BLUE)
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    cut = await client.post("/index", content=form[:-30], headers=headers)
    await _require_problem(cut, 400, "request_malformed")
    assert (await client.get("/gallery")).json()["count"] == 0
    whole = await client.post("/index", content=b"A preamble\r\n" + form + b"--b--", headers=headers)
    assert whole.json()["indexed"] == 2


@pytest.mark.parametrize("size", [10, 1000, 150_000])
async def test_an_image_without_a_filename_has_the_same_response_at_any_size(
    client: httpx.AsyncClient, size: int
) -> None:
    response = await client.post("/index", files=[("images", (None, b"x" * size, "image/png"))])
    await _require_problem(response, 422, "parameter_invalid", "images")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/gallery/", 200), ("/healthz/", 200), ("/readyz/", 200), ("/metrics/", 200), ("/index/", 405)],
)
async def test_a_slash_at_the_end_of_a_path_changes_nothing(client: httpx.AsyncClient, path: str, status: int) -> None:
    assert (await client.get(path)).status_code == status


async def test_an_encoded_body_is_rejected_with_the_name_of_its_encoding(client: httpx.AsyncClient) -> None:
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    response = await client.post("/index", content=gzip.compress(b'{"images": []}'), headers=headers)
    problem = await _require_problem(response, 415, "content_encoding_unsupported", "content-encoding")
    assert "gzip" in problem["detail"]


async def test_receipts_are_sent_line_by_line_if_the_client_accepts_it(client: httpx.AsyncClient) -> None:
    lines = {"Accept": "application/x-ndjson"}
    response = await client.post("/index", files=_files(RED, b"", RED), headers=lines)
    assert response.headers["content-type"] == "application/x-ndjson"
    *receipts, last = [json.loads(line) for line in response.text.splitlines()]
    told = sorted((line["receipt"]["index"], line["receipt"]["status"]) for line in receipts)
    assert told == [(0, "indexed"), (1, "rejected"), (2, "duplicate")]
    assert last == {"summary": {"indexed": 1, "updated": 0, "duplicate": 1, "rejected": 1}}


PAGE = "https://photos.example"
WITH_PAGE = AccessSettings(
    keys=(AccessKey(name="page", sha256=hashlib.sha256(b"page-key").hexdigest(), scopes=(Scope.INDEX,)),),
    cors_origins=(PAGE,),
)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/index?details=true"),
        ("PATCH", "/images/a/b"),
        ("PUT", "/images?id=a"),
        ("DELETE", "/images/a"),
        ("POST", "/images/delete"),
    ],
)
async def test_a_page_of_an_allowed_origin_may_send_its_key_with_each_method(
    bundle: _Bundle, method: str, path: str
) -> None:
    asked = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization,content-type"}
    async with _service(bundle, MemoryGalleryStore(), access=WITH_PAGE) as client:
        allowed = await client.options(path, headers={"Origin": PAGE, **asked})
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert method in allowed.headers["access-control-allow-methods"]
        assert allowed.headers["access-control-allow-headers"] == "authorization,content-type"
        other = await client.options(path, headers={"Origin": "https://other.example", **asked})
        assert "access-control-allow-origin" not in other.headers


async def test_a_page_of_an_allowed_origin_can_index_edit_and_delete_and_read_errors(bundle: _Bundle) -> None:
    page = {"Origin": PAGE, "Authorization": "Bearer page-key"}
    async with _service(bundle, MemoryGalleryStore(), access=WITH_PAGE) as client:
        image = {"images": [{"id": "a", "image": _base64(RED), "payload": {"n": 1}}]}
        responses = [
            await client.post("/index", json=image, headers=page),
            await client.patch("/images/a", json={"m": 2}, headers=page),
            await client.put("/images/a", json={"m": 3}, headers=page),
            await client.delete("/images/a", headers=page),
            await client.post("/index", json=image, headers={"Origin": PAGE}),
            await client.post("/index", json={}, headers=page),
        ]
    assert [response.status_code for response in responses] == [200, 200, 200, 200, 401, 422]
    assert {response.headers["access-control-allow-origin"] for response in responses} == {PAGE}


async def test_receipts_reach_a_page_of_an_allowed_origin_one_by_one(bundle: _Bundle) -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    body = json.dumps({"images": [{"image": ""}, {"image": _base64(RED)}]}).encode()
    chunks: list[tuple[bytes, bool]] = []
    headers: dict[bytes, bytes] = {}
    received = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if received.is_set():
            await asyncio.Event().wait()  # the page stays connected
        received.set()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers.update(message["headers"])
        elif message.get("body"):
            chunks.append((message["body"], bool(encoder.batch_sizes)))
            encoder.gate.set()

    names = {"host": "indexer", "origin": PAGE, "authorization": "Bearer page-key", "accept": "application/x-ndjson"}
    names |= {"content-type": "application/json", "content-length": str(len(body))}
    scope = {"type": "http", "method": "POST", "path": "/index", "raw_path": b"/index", "query_string": b""}
    scope |= {"headers": [(name.encode(), value.encode()) for name, value in names.items()], "http_version": "1.1"}
    scope |= {"scheme": "http", "server": ("indexer", 80), "client": ("127.0.0.1", 1), "root_path": ""}
    app = create_app(
        _settings(bundle, access=WITH_PAGE),
        MemoryGalleryCatalogue(MemoryGalleryStore()),
        load_encoder=lambda *_, **__: encoder,
    )
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    assert headers[b"access-control-allow-origin"] == PAGE.encode()
    assert [embedded for _, embedded in chunks] == [False, True, True]  # the first one before the second is embedded


async def test_a_store_that_fails_midway_ends_the_lines_with_the_problem(bundle: _Bundle) -> None:
    store = InterruptibleGalleryStore(writes_left=1)
    async with _service(bundle, store, batch_size=1, store_wait_s=0) as client:
        response = await client.post(
            "/index", files=_files(RED, GREEN, BLUE), headers={"Accept": "application/x-ndjson"}
        )
    *receipts, last = [json.loads(line) for line in response.text.splitlines()]
    assert response.status_code == 200
    assert [line["receipt"]["status"] for line in receipts] == ["indexed"]
    assert last["problem"]["code"] == "store_unavailable"


async def test_a_request_that_fails_before_its_first_receipt_has_the_status_of_its_error(bundle: _Bundle) -> None:
    store = InterruptibleGalleryStore(writes_left=0)
    async with _service(bundle, store, store_wait_s=0, max_queued_bytes=1) as client:
        for _ in range(2):  # the second one is not rejected because of the first one
            response = await client.post("/index", files=_files(RED), headers={"Accept": "application/x-ndjson"})
            await _require_problem(response, 503, "store_unavailable")


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_an_excess_request_is_rejected_with_retry_after_and_the_others_are_served(
    bundle: _Bundle, accept: str
) -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    async with _service(bundle, MemoryGalleryStore(), encoder=encoder, max_queued_bytes=1) as client:
        headers = {"Accept": accept}
        served = asyncio.create_task(client.post("/index", files=_files(RED), headers=headers))
        await asyncio.to_thread(encoder.called.wait, 10)
        refused = await client.post("/index", files=_files(BLUE), headers=headers)
        encoder.gate.set()
        assert (await served).status_code == 200
        again = await client.post("/index", files=_files(BLUE), headers=headers)
    await _require_problem(refused, 429, "service_overloaded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert again.status_code == 200


async def test_images_of_several_requests_are_embedded_together(bundle: _Bundle) -> None:
    encoder = FakeGalleryEncoder()
    encoder.gate.clear()
    async with _service(bundle, MemoryGalleryStore(), encoder=encoder) as client:
        first = asyncio.create_task(client.post("/index", files=_files(RED)))
        await asyncio.to_thread(encoder.called.wait, 10)
        others = [
            asyncio.create_task(client.post("/index", files=_files(plain_png((value, 9, 9))))) for value in range(6)
        ]
        await asyncio.sleep(0.3)
        encoder.gate.set()
        answers = await asyncio.gather(first, *others)
    assert [answer.json()["indexed"] for answer in answers] == [1] * 7
    assert sum(encoder.batch_sizes) == 7
    assert max(encoder.batch_sizes) >= 2


async def test_items_may_be_a_file_part_in_addition_to_the_largest_number_of_images(
    client: httpx.AsyncClient,
) -> None:
    items = json.dumps([{"id": "a"}, {"id": "b"}, {"id": "c"}]).encode()
    response = await client.post(
        "/index", files=[*_files(RED, GREEN, BLUE), ("items", ("items.json", items, "application/json"))]
    )
    assert [receipt["id"] for receipt in response.json()["receipts"]] == ["a", "b", "c"]


async def test_json_with_base64_is_equivalent_to_a_form(client: httpx.AsyncClient) -> None:
    await client.post("/index", files=_files(RED))
    response = await client.post(
        "/index", json={"images": [{"image": _base64(RED)}, {"image": _base64(BLUE), "id": "blue"}]}
    )
    assert [receipt["status"] for receipt in response.json()["receipts"]] == ["duplicate", "indexed"]


async def test_base64_may_be_a_data_url_or_have_line_breaks(client: httpx.AsyncClient) -> None:
    wrapped = base64.encodebytes(RED).decode()
    for text in (wrapped, f"data:image/png;base64,{wrapped}", base64.urlsafe_b64encode(RED).decode().rstrip("=")):
        receipt = (await client.post("/index", json={"images": [{"id": "red", "image": text}]})).json()["receipts"][0]
        assert (receipt["id"], receipt["status"] == "rejected") == ("red", False)
    assert (await client.get("/images/red")).json()["content_sha256"] == hashlib.sha256(RED).hexdigest()


DETAILS = {
    "file_name": "1.jpg",
    "folder": "bern",
    "taken_at": "2024-05-01T10:11:12+02:00",
    "camera": "X100V",
    "location": {"lat": 46.5, "lon": 7.5},
}


def _photograph(colour: tuple[int, int, int] = (90, 30, 30)) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Model] = "X100V"
    exif.get_ifd(ExifTags.IFD.Exif).update({0x9003: "2024:05:01 10:11:12", 0x9011: "+02:00"})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (46.5,), 3: "E", 4: (7.5,)})
    return encode(np.full((32, 32, 3), colour, dtype=np.uint8), "JPEG", exif=exif)


async def _index_details(client: httpx.AsyncClient, **item: Any) -> tuple[str, dict[str, Any]]:
    """Index the photograph as `bern/1.jpg` with details; return the receipt's status and the stored payload."""
    image = {"id": "bern/1.jpg", "image": _base64(_photograph()), **item}
    response = await client.post("/index", params={"details": "true"}, json={"images": [image]})
    return response.json()["receipts"][0]["status"], (await client.get("/images/bern/1.jpg")).json()["payload"]


@pytest.fixture
async def roomy(bundle: _Bundle) -> AsyncIterator[httpx.AsyncClient]:
    """A service whose payloads may have details."""
    async with _service(bundle, MemoryGalleryStore(), max_payload_bytes=1000) as client:
        yield client


async def test_details_are_added_to_the_payload_and_the_callers_keys_win(roomy: httpx.AsyncClient) -> None:
    assert await _index_details(roomy, payload={"camera": None, "n": 1}) == (
        "indexed",
        {**DETAILS, "camera": None, "n": 1},
    )


async def test_an_unchanged_image_with_details_is_a_duplicate_and_keeps_edited_details(
    roomy: httpx.AsyncClient,
) -> None:
    assert await _index_details(roomy) == ("indexed", DETAILS)
    assert await _index_details(roomy) == ("duplicate", DETAILS)
    await roomy.patch("/images/bern/1.jpg", json={"camera": "my camera"})
    assert await _index_details(roomy) == ("duplicate", {**DETAILS, "camera": "my camera"})
    assert await _index_details(roomy, payload={"n": 1}) == ("updated", {**DETAILS, "n": 1})
    assert await _index_details(roomy, payload={"n": 1}) == ("duplicate", {**DETAILS, "n": 1})


async def test_details_are_added_to_an_image_that_was_indexed_without(roomy: httpx.AsyncClient) -> None:
    image = {"id": "bern/1.jpg", "image": _base64(_photograph()), "payload": {"n": 1}}
    await roomy.post("/index", json={"images": [image]})
    assert (await roomy.get("/images/bern/1.jpg")).json()["payload"] == {"n": 1}
    assert await _index_details(roomy) == ("updated", {**DETAILS, "n": 1})


async def test_the_same_image_twice_in_a_request_with_details_is_indexed_once(roomy: httpx.AsyncClient) -> None:
    files = [("images", (name, _photograph())) for name in ("a.jpg", "b.jpg")]
    response = await roomy.post("/index", params={"details": "true"}, files=files)
    assert [receipt["status"] for receipt in response.json()["receipts"]] == ["indexed", "duplicate"]
    payload = (await roomy.get(f"/images/{response.json()['receipts'][0]['id']}")).json()["payload"]
    assert payload == {key: value for key, value in DETAILS.items() if key != "folder"} | {"file_name": "a.jpg"}


async def test_details_have_no_position_if_the_operator_leaves_it_out(bundle: _Bundle) -> None:
    async with _service(bundle, MemoryGalleryStore(), max_payload_bytes=1000, location=False) as client:
        _, payload = await _index_details(client)
        assert payload == {key: value for key, value in DETAILS.items() if key != "location"}


async def test_details_that_contradict_a_declared_type_are_left_out(bundle: _Bundle) -> None:
    store = StoreSettings(
        edge_path=bundle.path.parent / "gallery", payload_schema={"location": "keyword", "taken_at": "datetime"}
    )
    async with _service(bundle, MemoryGalleryStore(), max_payload_bytes=1000, store=store) as client:
        _, payload = await _index_details(client)
        assert payload == {key: value for key, value in DETAILS.items() if key != "location"}


async def test_an_image_whose_payload_with_details_is_too_large_is_rejected(client: httpx.AsyncClient) -> None:
    image = {"id": "bern/1.jpg", "image": _base64(_photograph())}
    response = await client.post("/index", params={"details": "true"}, json={"images": [image]})
    assert response.json()["receipts"][0]["error"]["code"] == "items_invalid"
    assert (await client.get("/images/bern/1.jpg")).status_code == 404


async def test_images_may_be_named_by_path_if_the_operator_allows_it(bundle: _Bundle, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "red.png").write_bytes(RED)
    images = [{"path": "red.png", "id": "red"}, {"path": "../bundle/bundle.json"}, {"image": _base64(BLUE)}]
    async with _service(bundle, MemoryGalleryStore(), source_root=tmp_path / "photos", max_queued_bytes=1) as client:
        answer = (await client.post("/index", json={"images": images})).json()
    assert [receipt["status"] for receipt in answer["receipts"]] == ["indexed", "rejected", "indexed"]
    assert answer["receipts"][1]["error"]["code"] == "image_source_refused"


@pytest.mark.parametrize("image", [{}, {"image": "", "url": "https://a"}, {"url": "u", "path": "p"}, {"path": ""}])
async def test_an_image_with_no_source_or_several_is_rejected(client: httpx.AsyncClient, image: Any) -> None:
    response = await client.post("/index", json={"images": [image]})
    assert (response.status_code, response.json()["code"]) == (422, "items_invalid")


async def test_bad_base64_rejects_one_image_and_no_other(client: httpx.AsyncClient) -> None:
    response = await client.post("/index", json={"images": [{"image": "no base64!"}, {"image": _base64(RED)}]})
    assert response.status_code == 200
    bad, good = response.json()["receipts"]
    assert (bad["status"], bad["id"], bad["error"]["code"]) == ("rejected", None, "image_invalid")
    assert bad["error"]["item"] == "images[0]"
    assert "a character of no alphabet" in bad["error"]["detail"]
    assert good["status"] == "indexed"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "image_empty"),
        (b"just some text", "image_unsupported"),
        (RED[: len(RED) // 2], "image_truncated"),
        (plain_png((1, 2, 3), width=1, height=1), "image_too_small"),
        (bomb_png(), "image_too_many_pixels"),
    ],
)
async def test_a_bad_image_is_rejected_by_name_and_its_neighbour_is_indexed(
    client: httpx.AsyncClient, data: bytes, code: str
) -> None:
    response = await client.post("/index", files=[("images", ("bad.jpg", data)), *_files(RED)])
    assert response.status_code == 200
    bad, good = response.json()["receipts"]
    assert (bad["status"], bad["error"]["code"], bad["error"]["item"]) == ("rejected", code, "bad.jpg")
    assert good["status"] == "indexed"


async def test_items_may_be_sent_as_one_part_each(client: httpx.AsyncClient) -> None:
    # OpenAPI's encoding of lists in forms, which generated clients send
    items = ['{"id": "a"}', '{"id": "b"}']
    answer = await client.post("/index", files=_files(RED, GREEN), data={"items": items})
    assert [receipt["id"] for receipt in answer.json()["receipts"]] == ["a", "b"]
    answer = await client.post("/index", files=_files(RED, GREEN), data={"items": items[:1]})
    await _require_problem(answer, 422, "items_invalid", "items")


@pytest.mark.parametrize(
    "items",
    [
        "not JSON",
        '{"id": "a", "colour": "red"}',
        "[]",
        '[{"id": "a"}, {"id": "b"}]',
        '[{"id": "a", "colour": "red"}]',
        '[{"id": 7}]',
        '[{"payload": [1]}]',
        '[{"payload": {"a": NaN}}]',
        "[" * 1000,
    ],
)
async def test_items_that_do_not_match_are_rejected_and_no_image_is_indexed(
    client: httpx.AsyncClient, items: str
) -> None:
    response = await client.post("/index", files=_files(RED), data={"items": items})
    await _require_problem(response, 422, "items_invalid", "items")
    assert (await client.get("/gallery")).json()["count"] == 0
    await _require_working(client)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not JSON",
        b"\xff\xfe",
        b"[]",
        b'{"images": []}',
        b'{"images": [{}]}',
        b'{"images": [{"image": 7}]}',
        b'{"images": [{"image": "AAAA", "colour": "red"}]}',
        b'{"images": [{"image": "AAAA", "id": "\\ud800"}]}',
    ],
)
async def test_json_with_another_schema_is_rejected(client: httpx.AsyncClient, body: bytes) -> None:
    response = await client.post("/index", content=body, headers={"content-type": "application/json"})
    await _require_problem(response, 422, "items_invalid", "body")
    await _require_working(client)


async def test_the_error_of_an_empty_body_names_the_content_types(client: httpx.AsyncClient) -> None:
    problem = await _require_problem(await client.post("/index"), 400, "request_malformed", "content-type")
    assert "multipart/form-data" in problem["detail"]


async def test_a_form_without_images_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/index", files={"items": ("items.json", b"[]")})
    await _require_problem(response, 422, "parameter_invalid", "images")


async def test_a_misspelt_field_of_the_form_is_rejected_with_its_name(client: httpx.AsyncClient) -> None:
    response = await client.post("/index", files=_files(RED), data={"item": "[]"})
    await _require_problem(response, 422, "parameter_invalid", "item")


async def test_a_body_over_the_limit_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/index", files=_files(bytes(MAX_BODY_BYTES)))
    await _require_problem(response, 413, "body_too_large")
    await _require_working(client)


@pytest.mark.parametrize("count", [MAX_IMAGES + 1, MAX_IMAGES + 2])
async def test_too_many_images_are_rejected_in_either_form(client: httpx.AsyncClient, count: int) -> None:
    form = await client.post("/index", files=_files(*[RED] * count))
    await _require_problem(form, 413, "too_many_images")
    document = await client.post("/index", json={"images": [{"image": _base64(RED)}] * count})
    await _require_problem(document, 413, "too_many_images")
    await _require_working(client)


async def test_text_that_utf8_cannot_encode_does_no_harm(client: httpx.AsyncClient) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="images"; filename="+2AA-.png"\r\n\r\n' + RED + b"\r\n"
        b'--b\r\nContent-Disposition: form-data; name="items"\r\n\r\n[{"id": "+2AA-"}]\r\n--b--\r\n'
    )
    content_type = "multipart/form-data; boundary=b; charset=utf-7"
    response = await client.post("/index", content=body, headers={"content-type": content_type})
    assert response.status_code == 200
    assert (response.json()["receipts"][0]["id"], response.json()["receipts"][0]["name"]) == ("?", "?.png")


async def test_an_image_of_the_gallery_is_found_by_an_id_with_slashes(client: httpx.AsyncClient) -> None:
    items = json.dumps([{"id": "a/b c/é.png", "payload": {"n": 1}}])
    await client.post("/index", files=_files(RED), data={"items": items})
    response = await client.get("/images/a/b%20c/%C3%A9.png")
    assert response.status_code == 200
    image = response.json()
    assert image.pop("indexed_at")
    assert image == {
        "id": "a/b c/é.png",
        "content_sha256": hashlib.sha256(RED).hexdigest(),
        "width": 32,
        "height": 24,
        "extractors": ["eye"],
        "payload": {"n": 1},
    }


async def _index_as(client: httpx.AsyncClient, item_id: str, image: bytes = RED) -> dict[str, Any]:
    response = await client.post("/index", json={"images": [{"id": item_id, "image": _base64(image)}]})
    receipt: dict[str, Any] = response.json()["receipts"][0]
    return receipt


@pytest.mark.parametrize("item_id", ADDRESSABLE)
async def test_an_image_of_any_id_can_be_read_changed_and_deleted_alone(bundle: _Bundle, item_id: str) -> None:
    merged = re.sub("/+", "/", item_id)
    others = {merged, merged.strip("/"), "a"} - {item_id}
    async with _service(bundle, MemoryGalleryStore(), thumbnail_side=16, proxied=True) as client:
        for one in (item_id, *others):
            assert (await _index_as(client, one))["status"] == "indexed"
        named = {"params": {"id": item_id}}
        assert (await client.get("/images", **named)).json()["id"] == item_id
        assert (await client.get("/thumbnails", **named)).headers["content-type"] == "image/webp"
        assert (await client.patch("/images", json={"n": 1}, **named)).json()["payload"] == {"n": 1}
        assert (await client.delete("/images", **named)).json() == {"id": item_id, "deleted": True}
        await _require_problem(await client.get("/images", **named), 404, "image_not_found", item_id)
        for other in others:
            assert (await client.get("/images", params={"id": other})).json()["payload"] == {}


@pytest.mark.parametrize("item_id", ADDRESSABLE)
async def test_a_path_can_contain_any_id_unless_a_proxy_normalises_it(client: httpx.AsyncClient, item_id: str) -> None:
    assert (await _index_as(client, item_id))["status"] == "indexed"
    path = f"/images/{quote(item_id, safe='')}"
    assert (await client.get(path)).json()["id"] == item_id
    assert (await client.delete(path)).json()["id"] == item_id


@pytest.mark.parametrize("item_id", REFUSED)
async def test_an_id_that_a_url_cannot_contain_is_rejected_when_indexing(
    client: httpx.AsyncClient, item_id: str
) -> None:
    receipt = await _index_as(client, item_id)
    assert (receipt["status"], receipt["error"]["code"], receipt["id"]) == ("rejected", "items_invalid", item_id)


@pytest.mark.parametrize("item_id", REFUSED)
async def test_an_image_that_an_earlier_release_accepted_with_such_an_id_can_be_deleted(
    bundle: _Bundle, item_id: str
) -> None:
    store = MemoryGalleryStore()
    async with _service(bundle, store) as client:
        await _index_as(client, "b.jpg")
        there = (await store.fetch(["b.jpg"]))["b.jpg"]
        await store.upsert([replace(there, record=replace(there.record, item_id=item_id))])
        assert (await client.get("/images", params={"id": item_id})).json()["id"] == item_id
        assert (await client.delete("/images", params={"id": item_id})).json()["id"] == item_id
        assert list(await store.fetch([item_id, "b.jpg"])) == ["b.jpg"]


async def test_normalisations_of_an_id_are_one_image(client: httpx.AsyncClient) -> None:
    composed, decomposed = "Z\u00fcrich/caf\u00e9.jpg", "Zu\u0308rich/cafe\u0301.jpg"
    images = [{"id": item_id, "image": _base64(RED)} for item_id in (decomposed, composed)]
    answer = (await client.post("/index", json={"images": images})).json()
    assert [(one["id"], one["status"]) for one in answer["receipts"]] == [
        (composed, "indexed"),
        (composed, "duplicate"),
    ]
    assert (await client.get("/gallery")).json()["count"] == 1
    for item_id in (decomposed, composed):
        assert (await client.get(f"/images/{item_id}")).json()["id"] == composed
    images = [{"id": item_id, "content_sha256": hashlib.sha256(RED).hexdigest()} for item_id in (decomposed, composed)]
    assert decomposed in (await client.post("/images/lookup", json={"images": images[:1]})).json()["up_to_date"]
    assert (await client.post("/images/delete", json={"ids": [decomposed]})).json() == {"deleted": 1}


async def test_an_image_stored_by_an_earlier_release_with_another_normalisation_is_replaced(bundle: _Bundle) -> None:
    composed, decomposed = "caf\u00e9.jpg", "cafe\u0301.jpg"
    store = MemoryGalleryStore()
    async with _service(bundle, store) as client:
        await _index_as(client, "a")
        there = (await store.fetch(["a"]))["a"]
        await store.upsert([replace(there, record=replace(there.record, item_id=decomposed))])
        await store.delete(["a"])
        assert (await _index_as(client, composed))["status"] == "duplicate"
        assert (await client.get("/images", params={"id": composed})).json()["id"] == decomposed
        assert (await _index_as(client, composed, BLUE))["status"] == "updated"
        assert (await client.get("/images", params={"id": decomposed})).json()["id"] == composed
        assert await store.count() == 1


@pytest.mark.parametrize("query", ["", "?id=", "?id=a&id=b", "?id=%0a", "?item_id=a"])
async def test_a_query_without_an_image_is_rejected(client: httpx.AsyncClient, query: str) -> None:
    await _require_problem(await client.delete(f"/images{query}"), 422, "parameter_invalid", "id")


async def test_an_id_may_be_set_only_once(client: httpx.AsyncClient) -> None:
    await _index_as(client, "a")
    await _require_problem(await client.delete("/images/a?id=b"), 422, "parameter_invalid", "item_id")


async def test_a_deleted_image_is_not_found_and_can_be_indexed_again(client: httpx.AsyncClient) -> None:
    item_id = (await client.post("/index", files=_files(RED))).json()["receipts"][0]["id"]
    response = await client.delete(f"/images/{item_id}")
    assert response.json() == {"id": item_id, "deleted": True}
    for method in ("GET", "DELETE"):
        response = await client.request(method, f"/images/{item_id}")
        await _require_problem(response, 404, "image_not_found", item_id)
    again = await client.post("/index", files=_files(RED))
    assert again.json()["indexed"] == 1


@pytest.mark.parametrize(("item_id", "parameter"), [("", "id"), ("%00", "item_id"), ("x" * 513, "item_id")])
async def test_an_invalid_id_is_rejected(client: httpx.AsyncClient, item_id: str, parameter: str) -> None:
    response = await client.get(f"/images/{item_id}")
    await _require_problem(response, 422, "parameter_invalid", parameter)


async def test_a_lookup_returns_the_images_that_need_not_be_sent(client: httpx.AsyncClient) -> None:
    items = json.dumps([{"id": name, "payload": {"n": 1}} for name in ("a", "b", "c")])
    await client.post("/index", files=_files(RED, GREEN, BLUE), data={"items": items})
    sha256 = hashlib.sha256(RED).hexdigest()
    images = [
        {"id": "a", "content_sha256": sha256, "payload": {"n": 1}},
        {"id": "b", "content_sha256": sha256},
        {"id": "c", "payload": {"n": True}},
    ]
    assert (await client.post("/images/lookup", json={"images": images})).json() == {"up_to_date": ["a"]}
    by_id = [{"id": "c"}, {"id": "d"}]
    assert (await client.post("/images/lookup", json={"images": by_id})).json() == {"up_to_date": ["c"]}


@pytest.mark.parametrize("content_type", ["application/json", "application/merge-patch+json", None])
async def test_patch_merges_into_the_payload_whatever_its_content_type(
    client: httpx.AsyncClient, content_type: str | None
) -> None:
    items = json.dumps([{"id": "a/b", "payload": {"city": "Paris", "year": 1889, "place": {"floor": 1, "room": 2}}}])
    await client.post("/index", files=_files(RED), data={"items": items})
    headers = {"Content-Type": content_type} if content_type else {}
    patch = b'{"year": null, "open": true, "place": {"floor": null}, "absent": null}'
    expected = {"city": "Paris", "open": True, "place": {"room": 2}}
    assert (await client.patch("/images/a/b", content=patch, headers=headers)).json()["payload"] == expected
    assert (await client.get("/images/a/b")).json()["payload"] == expected


async def test_put_replaces_the_payload(client: httpx.AsyncClient) -> None:
    items = json.dumps([{"id": "a/b", "payload": {"city": "Paris"}}])
    await client.post("/index", files=_files(RED), data={"items": items})
    for address in ({"url": "/images/a/b"}, {"url": "/images", "params": {"id": "a/b"}}):
        assert (await client.put(**address, json={"n": None})).json()["payload"] == {"n": None}
        assert (await client.get("/images/a/b")).json()["payload"] == {"n": None}
        assert (await client.put(**address, json={})).json()["payload"] == {}


@pytest.mark.parametrize(("body", "item"), [(b"[1]", "body"), (b"{", "body"), (b"", "body"), (b'{"a": 1e999}', "a")])
async def test_a_payload_that_is_not_an_object_is_rejected(client: httpx.AsyncClient, body: bytes, item: str) -> None:
    await client.post("/index", files=_files(RED), data={"items": '[{"id": "a"}]'})
    for method in ("PATCH", "PUT"):
        response = await client.request(method, "/images/a", content=body)
        await _require_problem(response, 422, "items_invalid", item)


async def test_a_payload_that_cannot_be_stored_or_has_no_image_is_rejected(
    client: httpx.AsyncClient,
) -> None:
    await client.post("/index", files=_files(RED), data={"items": '[{"id": "a"}]'})
    for method in ("PATCH", "PUT"):
        response = await client.request(method, "/images/a", json={"t": "x" * 100})
        await _require_problem(response, 422, "items_invalid", "a")
        await _require_problem(await client.request(method, "/images/b", json={}), 404, "image_not_found", "b")


async def test_changes_of_a_payload_at_the_same_time_are_all_kept(bundle: _Bundle) -> None:
    class SlowStore(MemoryGalleryStore):
        async def fetch(self, item_ids: Sequence[str]) -> dict[str, GalleryPoint]:
            found = await super().fetch(item_ids)
            await asyncio.sleep(0)
            return found

    async with _service(bundle, SlowStore()) as client:
        await client.post("/index", files=_files(RED), data={"items": '[{"id": "a"}]'})
        await asyncio.gather(*(client.patch("/images/a", json={name: 1}) for name in "klmn"))
        assert (await client.get("/images/a")).json()["payload"] == dict.fromkeys("klmn", 1)


async def test_a_thumbnail_is_stored_and_served_and_survives_a_new_payload(bundle: _Bundle) -> None:
    photograph = plain_png((200, 30, 30), width=400, height=300)
    async with _service(bundle, MemoryGalleryStore(), thumbnail_side=64) as client:
        await client.post("/index", files=_files(photograph), data={"items": '[{"id": "a/b"}]'})
        await client.patch("/images/a/b", json={"n": 1})
        response = await client.get("/images/a/b/thumbnail")
        assert response.headers["content-type"] == "image/webp"
        picture = Image.open(io.BytesIO(response.content))
        assert (picture.format, picture.size) == ("WEBP", (64, 48))
        again = await client.get("/images/a/b/thumbnail", headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        await _require_problem(await client.get("/images/none/thumbnail"), 404, "image_not_found", "none")


async def test_images_are_deleted_by_ids_by_a_filter_or_all(client: httpx.AsyncClient) -> None:
    items = json.dumps([{"id": name, "payload": {"n": n}} for n, name in enumerate("abc")])
    await client.post("/index", files=_files(RED, GREEN, BLUE), data={"items": items})

    async def deleted(**what: Any) -> Any:
        return (await client.post("/images/delete", json=what)).json()

    assert await deleted(ids=["a", "z"]) == {"deleted": 1}
    assert await deleted(filter={"must": [{"key": "n", "match": 1}]}) == {"deleted": 1}
    assert (await client.get("/gallery")).json()["count"] == 1
    assert await deleted(all=True) == {"deleted": 1}
    assert (await client.get("/gallery")).json()["count"] == 0


@pytest.mark.parametrize(
    "what", [{}, {"ids": []}, {"all": False}, {"ids": ["a"], "all": True}, {"filter": {}}, {"everything": True}]
)
async def test_a_deletion_without_a_criterion_is_rejected(client: httpx.AsyncClient, what: Any) -> None:
    response = await client.post("/images/delete", json=what)
    assert (response.status_code, response.json()["code"]) == (422, "parameter_invalid")


async def test_a_lookup_of_too_many_images_is_rejected(client: httpx.AsyncClient) -> None:
    response = await client.post("/images/lookup", json={"images": [{"id": str(n)} for n in range(MAX_IMAGES + 1)]})
    await _require_problem(response, 413, "too_many_images")


async def test_the_gallery_status_describes_its_collections_and_activity(
    client: httpx.AsyncClient, bundle: _Bundle
) -> None:
    await client.post("/index", files=_files(RED, BLUE))
    document = (await client.get("/gallery")).json()
    (collection,) = document.pop("collections")
    activity = document.pop("activity")
    assert activity.pop("images_per_s") > 0
    assert activity == {"indexed": 2, "updated": 0, "duplicate": 0, "rejected": 0, "in_flight": 0}
    told = {
        "count": 2,
        "bundle": "dummy",
        "fingerprint": bundle.manifest.fingerprint,
        "space": bundle.manifest.space.model_dump(),
    }
    assert document == told | {"store": "memory", "kept_tokens": None}
    assert collection.pop("live_since") is not None
    assert collection == told | {"live": True}


async def test_a_service_that_requires_signed_bundles_does_not_start_with_an_unsigned_one(bundle: _Bundle) -> None:
    keys = minisign.KeyPair.generate()
    public_key = keys.public_key.to_base64().decode()
    with pytest.raises(BundleNotFoundError, match="minisig"):
        async with _service(bundle, MemoryGalleryStore(), bundle_public_key=public_key):
            pass
    manifest = bundle.path / "bundle.json"
    signature = keys.secret_key.sign(manifest.read_bytes(), trusted_comment="")
    manifest.with_name("bundle.json.minisig").write_bytes(bytes(signature))
    async with _service(bundle, MemoryGalleryStore(), bundle_public_key=public_key) as client:
        await _require_working(client)


async def test_a_started_service_is_ready_and_returns_its_fingerprint(
    client: httpx.AsyncClient, bundle: _Bundle
) -> None:
    response = await client.get("/readyz")
    assert response.json() == {
        "status": "ready",
        "bundle": bundle.manifest.name,
        "fingerprint": bundle.manifest.fingerprint,
    }


async def test_stages_and_receipts_are_in_the_metrics(client: httpx.AsyncClient) -> None:
    await client.post("/index", files=_files(RED, b""))
    text = (await client.get("/metrics")).text
    assert 'aff_index_receipts_total{status="indexed"} 1.0' in text
    assert 'aff_index_rejected_total{code="image_empty"} 1.0' in text
    for stage in ("fetch", "decode", "encode", "upsert"):
        assert f'aff_index_stage_duration_seconds_count{{stage="{stage}"}}' in text


async def test_a_service_with_an_unavailable_store_starts_and_is_ready_when_the_store_returns(bundle: _Bundle) -> None:
    store = InterruptibleGalleryStore(writes_left=0)
    async with _service(bundle, store, store_wait_s=0) as client:
        assert (await client.get("/healthz")).status_code == 200
        await _require_problem(await client.get("/readyz"), 503, "store_unavailable")
        await _require_problem(await client.post("/index", files=_files(RED)), 503, "store_unavailable")
        store.writes_left = None
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/index", files=_files(RED))).json()["indexed"] == 1


async def test_a_gallery_of_another_space_is_not_changed_and_the_error_has_the_reason(bundle: _Bundle) -> None:
    store = MemoryGalleryStore()
    await store.create(EmbeddingSpace(id="b" * 64, dimension=4))
    async with _service(bundle, store) as client:
        problem = await _require_problem(await client.get("/readyz"), 503, "embedding_space_mismatch")
        assert "index the gallery again with this bundle" in problem["detail"]
        response = await client.post("/index", files=_files(RED))
        await _require_problem(response, 503, "embedding_space_mismatch")
        assert (await client.get("/gallery")).json()["count"] == 0


async def test_decoding_and_the_encoder_can_run_in_separate_processes(bundle: _Bundle) -> None:
    store = MemoryGalleryStore()
    settings = _settings(bundle, worker_processes="always", decode_workers=2)
    app = create_app(settings, MemoryGalleryCatalogue(store), load_encoder=load_fake_gallery_encoder)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        response = await client.post("/index", files=[("images", ("red", RED)), ("images", ("bad", b"no image"))])
    assert [receipt["status"] for receipt in response.json()["receipts"]] == ["indexed", "rejected"]
    (point,) = (await store.scroll(limit=10)).points
    np.testing.assert_allclose(point.embedding, [0.5**0.5, 0, 0, 0.5**0.5], atol=1e-6)


async def test_a_shared_store_is_not_closed_by_the_service(bundle: _Bundle) -> None:
    store = InterruptibleGalleryStore()
    async with _service(bundle, store):
        pass
    assert not store.closed


async def test_the_services_own_store_is_closed_and_keeps_the_indexed_images(bundle: _Bundle) -> None:
    payload = {"latitude": 94.95886283158103, "flags": [True, None, {}], "": "\0é", "n": -(2**63)}
    request = {"images": [{"image": _base64(RED), "payload": payload}]}
    async with _service(bundle) as client:
        assert (await client.post("/index", json=request)).json()["indexed"] == 1
    async with _service(bundle) as client:
        assert (await client.get("/gallery")).json()["store"] == "qdrant_edge"
        assert (await client.post("/index", json=request)).json()["duplicate"] == 1


async def test_a_service_without_its_bundle_does_not_start(bundle: _Bundle) -> None:
    (bundle.path / "bundle.json").unlink()
    with pytest.raises(BundleNotFoundError, match=r"no readable bundle\.json"):
        async with _service(bundle, MemoryGalleryStore()):
            pass


async def test_a_service_without_weights_does_not_start_and_reports_the_repair_command(bundle: _Bundle) -> None:
    (bundle.path / "mixer.safetensors").unlink()
    with pytest.raises(BundleNotFoundError, match=re.escape(f"aff bundle repair {bundle.path} --from FOLDER")):
        async with _service(bundle, MemoryGalleryStore()):
            pass


async def test_a_service_without_a_package_of_its_extractor_does_not_start_and_reports_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {"input_size": 64, "fixed_input_size": False, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
    config = {"architecture": "resnet18", **trained}
    manifest = write_dummy_bundle(tmp_path, dimension=4, family="timm_backbone", config=config)
    monkeypatch.setitem(sys.modules, "timm", None)
    app = create_app(_settings(_Bundle(tmp_path, manifest)), MemoryGalleryStore())
    with pytest.raises(MissingExtraError, match=r"pip install 'aff-gallery-indexer\[timm\]'"):
        async with app.router.lifespan_context(app):
            pass


async def test_a_service_with_an_altered_bundle_does_not_start(bundle: _Bundle) -> None:
    (bundle.path / "mixer.safetensors").write_bytes(b"another mixer")
    with pytest.raises(BundleIntegrityError, match=r"mixer\.safetensors"):
        async with _service(bundle, MemoryGalleryStore()):
            pass
