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

from aff_benchmarks.bench.services import running_query_service
from aff_benchmarks.bench.synthetic_gallery import write_gallery
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.settings import StoreSettings
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.browser.conftest import photograph
from tests.browser.steps import HITS, choose, hit_ids, search
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

RUNTIME = Path(__file__).parents[2] / "services/query_api/src/query_api/page/ort/LICENSE"
PARITY_PHOTOGRAPHS = 20  # each of five sizes in each of four formats

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not RUNTIME.exists(), reason="ONNX Runtime for the web is not built: make web"),
]


def _embedding_sent(page: Page, data: bytes, kind: str = "image/jpeg") -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Search on the device; returns what was sent, and the answer."""
    with page.expect_response("**/search/embedding") as answered:
        choose(page, data, kind=kind)
    sent = json.loads(answered.value.request.post_data or "")
    numbers = np.frombuffer(base64.b64decode(sent["embedding"]), "<f4")
    answer: dict[str, Any] = answered.value.json()
    return numbers, answer


def _switch_on(page: Page) -> None:
    """Search on the device; the switch is next to the photograph of a search."""
    search(page, photograph(0, 0))
    page.get_by_label("Search on this device").check()
    page.wait_for_selector(f".search:not([aria-busy]) {HITS}")


def test_the_device_sends_an_embedding_alone_and_finds_the_same(page: Page) -> None:
    data = photograph(3, 1, size=(480, 640))
    by_service = search(page, data)
    sent = []
    page.on("request", lambda request: sent.append((request.url, len(request.post_data_buffer or b""))))
    with page.expect_response("**/search/embedding"):
        page.get_by_label("Search on this device").check()
    assert hit_ids(page)[0] == by_service[0]
    uploads = {url.rsplit("/", 1)[-1]: size for url, size in sent if size}
    assert set(uploads) == {"embedding"}
    assert uploads["embedding"] < 4000 < len(data)
    assert page.get_by_text("Your photograph does not leave this device").is_visible()
    assert page.evaluate("crossOriginIsolated")


def test_the_switch_is_kept(page: Page) -> None:
    _switch_on(page)
    with page.expect_request("**/search/embedding"):
        page.reload()


def test_embeddings_of_browser_and_service_agree(page: Page, services: LocalServices) -> None:
    _switch_on(page)
    cosines, same_first = [], 0
    for number in range(PARITY_PHOTOGRAPHS):
        data, kind = _varied_photograph(number)
        there, answer = _embedding_sent(page, data, kind)
        here = httpx.post(
            f"{services.query_url}/search",
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
        exif[ExifTags.Base.Orientation] = (number % 5 + number // 15 * 5) % 8 + 1
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
        page.evaluate("localStorage.setItem('aff_on_this_device', 'yes')")
        page.reload()
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


def test_while_the_encoder_is_loaded_the_page_shows_how_large_it_is(page: Page, services: LocalServices) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/encoder/model.onnx*", hold)
    search(page, photograph(0, 0))
    with page.expect_request("**/encoder/model.onnx*"):
        page.get_by_label("Search on this device").check()
    files = httpx.get(f"{services.query_url}/encoder").json()["files"]
    size = f"{files[0]['size_bytes'] / 1e6:.1f}".removesuffix(".0")
    page.wait_for_selector(f"#results:has-text('Preparing this device ({size} MB), once')")
    held[0].continue_()
    hit_ids(page)


def test_a_region_is_the_same_on_the_device(page: Page, services: LocalServices) -> None:
    data = photograph(6, 0, size=(480, 640))
    _switch_on(page)
    _embedding_sent(page, data)
    page.wait_for_selector(f".search:not([aria-busy]) {HITS}")
    with page.expect_request("**/search/embedding") as requested:
        page.get_by_role("button", name="Select a part").click()
    sent = np.frombuffer(base64.b64decode(json.loads(requested.value.post_data or "")["embedding"]), "<f4")
    here = httpx.post(
        f"{services.query_url}/search",
        content=data,
        params={"with_embedding": True, "crop": "128,96,512,384"},
    ).json()
    assert float(sent @ np.asarray(here["embedding"], np.float32)) >= 0.99


def test_without_the_runtime_the_switch_is_hidden(page: Page) -> None:
    page.route("**/page/ort/**", lambda route: route.fulfill(status=404))
    with page.expect_response("**/page/ort/**"):
        page.reload()
    search(page, photograph(0, 0))
    assert page.locator(".switch").is_hidden()


def test_a_replaced_encoder_is_reported_and_loaded_again(page: Page) -> None:
    _switch_on(page)
    problem = {"title": "Encoder mismatch", "detail": "see GET /encoder", "status": 409, "code": "encoder_mismatch"}
    page.route("**/search/embedding", lambda route: route.fulfill(status=409, json=problem))
    choose(page, photograph(0, 0))
    page.wait_for_selector(".notice:has-text('Encoder mismatch')")
    page.unroute("**/search/embedding")
    with page.expect_response("**/encoder") as described:
        page.get_by_role("button", name="Try again").click()
    assert described.value.ok
    hit_ids(page)
