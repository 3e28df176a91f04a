from __future__ import annotations

import base64
import io
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image

from aff_benchmarks.bench.services import QueryService, running_query_service
from aff_benchmarks.bench.synthetic_gallery import write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes import render_view
from tests.browser.conftest import photograph
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

RUNTIME = Path(__file__).parents[2] / "services/query_api/src/query_api/page/ort/LICENSE"
PARITY_PHOTOGRAPHS = 50

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not RUNTIME.exists(), reason="ONNX Runtime for the web is not built: make web"),
]


def _choose(page: Page, data: bytes, kind: str) -> None:
    page.set_input_files("#file", {"name": "photograph", "mimeType": kind, "buffer": data})


def _embedding_sent(page: Page, data: bytes, kind: str = "image/jpeg") -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Search on the device; returns what was sent, and the answer."""
    with page.expect_response("**/search/embedding") as answered:
        _choose(page, data, kind)
    sent = json.loads(answered.value.request.post_data or "")
    numbers = np.frombuffer(base64.b64decode(sent["embedding"]), "<f4")
    answer: dict[str, Any] = answered.value.json()
    return numbers, answer


def test_the_device_sends_an_embedding_alone_and_finds_the_same(page: Page) -> None:
    data = photograph(3, 1, size=(480, 640))
    _choose(page, data, "image/jpeg")
    page.wait_for_selector(".hit")
    by_service = page.locator(".hit .id").first.inner_text()
    sent = []
    page.on("request", lambda request: sent.append((request.url, len(request.post_data_buffer or b""))))
    page.check("#device")
    page.click("#search")
    page.wait_for_selector("#costs-rows tr:nth-child(2)")
    assert page.locator(".hit .id").first.inner_text() == by_service
    uploads = {url.rsplit("/", 1)[-1]: size for url, size in sent if size}
    assert set(uploads) == {"embedding"}
    assert uploads["embedding"] < 4000 < len(data)
    rows = page.locator("#costs-rows tr").all_inner_texts()
    assert "kB" in rows[0]
    assert f"{uploads['embedding']} B" in rows[1]
    assert "WASM, threads: " in rows[1]
    assert page.evaluate("crossOriginIsolated")


def test_embeddings_of_browser_and_service_agree(page: Page, query_service: QueryService) -> None:
    page.check("#device")
    cosines, same_first = [], 0
    for number in range(PARITY_PHOTOGRAPHS):
        data, kind = _varied_photograph(number)
        there, answer = _embedding_sent(page, data, kind)
        here = httpx.post(
            f"http://127.0.0.1:{query_service.port}/search",
            content=data,
            headers={"content-type": kind},
            params={"with_embedding": True},
        ).json()
        cosines.append(float(there @ np.asarray(here["embedding"], np.float32)))
        same_first += answer["hits"][0]["id"] == here["hits"][0]["id"]
    assert min(cosines) >= 0.99
    assert np.median(cosines) >= 0.999
    assert same_first == PARITY_PHOTOGRAPHS


def _varied_photograph(number: int) -> tuple[bytes, str]:
    """Return a photograph of one of many sizes, orientations and formats."""
    height, width = [(96, 128), (240, 180), (480, 640), (900, 300), (1500, 2000)][number % 5]
    image = Image.fromarray(render_view(100 + number, 0, size=(min(height, 480), min(width, 640)))).resize(
        (width, height)
    )
    kind = ("jpeg", "png", "webp", "jpeg")[number // 5 % 4]
    options: dict[str, Any] = {"quality": 90} if kind != "png" else {}
    if kind == "jpeg":
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = number % 8 + 1
        options["exif"] = exif
    if kind == "png" and number % 2:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue(), f"image/{kind}"


@needs_photos_bundle
def test_the_encoder_of_the_default_bundle_runs_in_the_browser(browser: Browser, tmp_path: Path) -> None:
    gallery, space = tmp_path / "gallery", load_manifest(PHOTOS_BUNDLE).space
    with ThreadPoolExecutor(1) as beside_playwrights_event_loop:
        write = partial(write_gallery, StoreSettings(url="", edge_path=gallery), space, 20)
        beside_playwrights_event_loop.submit(write).result()
    with running_query_service(PHOTOS_BUNDLE, gallery) as service, closing(browser.new_page()) as page:
        page.goto(f"http://127.0.0.1:{service.port}/")
        page.check("#device")
        for number in (2, 3):
            data, kind = _varied_photograph(number)
            there, _ = _embedding_sent(page, data, kind)
            here = httpx.post(
                f"http://127.0.0.1:{service.port}/search",
                content=data,
                headers={"content-type": kind},
                params={"with_embedding": True},
            ).json()["embedding"]
            assert float(there @ np.asarray(here, np.float32)) >= 0.99


def test_while_the_encoder_is_loaded_the_page_shows_how_large_it_is(page: Page, query_service: QueryService) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/encoder/model.onnx*", hold)
    page.check("#device")
    with page.expect_request("**/encoder/model.onnx*"):
        _choose(page, photograph(0, 0), "image/jpeg")
    files = httpx.get(f"http://127.0.0.1:{query_service.port}/encoder").json()["files"]
    page.wait_for_selector(f"#status:has-text('Loading the encoder ({files[0]['size_bytes'] / 1e6:.1f} MB)')")
    held[0].continue_()
    page.wait_for_selector(".hit")


def test_a_region_is_the_same_on_the_device(page: Page, query_service: QueryService) -> None:
    data = photograph(6, 0, size=(480, 640))
    page.check("#device")
    _embedding_sent(page, data)
    page.click("summary:has-text('Region')")
    for edge, value in (("left", "100"), ("top", "50"), ("right", "400")):
        page.fill(f"#crop-{edge}", value)
    with page.expect_request("**/search/embedding") as asked:
        page.fill("#crop-bottom", "300")
        page.press("#crop-bottom", "Tab")
    sent = np.frombuffer(base64.b64decode(json.loads(asked.value.post_data or "")["embedding"]), "<f4")
    here = httpx.post(
        f"http://127.0.0.1:{query_service.port}/search",
        content=data,
        params={"with_embedding": True, "crop": "100,50,400,300"},
    ).json()
    assert float(sent @ np.asarray(here["embedding"], np.float32)) >= 0.99


def test_without_the_runtime_the_switch_is_hidden(page: Page) -> None:
    page.wait_for_selector("#device-switch:not([hidden])")
    page.route("**/page/ort/**", lambda route: route.fulfill(status=404))
    page.reload()
    page.wait_for_timeout(300)
    assert page.locator("#device-switch").is_hidden()


def test_a_replaced_encoder_is_reported_and_loaded_again(page: Page) -> None:
    page.check("#device")
    problem = {"title": "Encoder mismatch", "detail": "see GET /encoder", "status": 409, "code": "encoder_mismatch"}
    page.route("**/search/embedding", lambda route: route.fulfill(status=409, json=problem))
    _choose(page, photograph(0, 0), "image/jpeg")
    page.wait_for_selector("#error:has-text('Encoder mismatch')")
    page.unroute("**/search/embedding")
    with page.expect_response("**/encoder") as asked:
        page.click("#search")
    assert asked.value.ok
    page.wait_for_selector(".hit")
