from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest

from aff_benchmarks.bench.services import QueryService, running_query_service
from tests.browser.conftest import SCENES, VIEWS, photograph
from tests.support.nginx import find_nginx, nginx_before
from tests.support.tiny_bundle import TINY_BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

pytestmark = pytest.mark.browser


def _choose(page: Page, data: bytes, name: str = "photograph.jpg", kind: str = "image/jpeg") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def _ids(page: Page) -> list[str]:
    return page.locator(".hit .id").all_inner_texts()


def _searched(page: Page) -> None:
    page.wait_for_selector("#results:not([aria-busy])")


def test_a_chosen_photograph_finds_its_like_with_thumbnails_scores_and_payloads(page: Page) -> None:
    _choose(page, photograph(3, 0))
    page.wait_for_selector(".hit")
    assert _ids(page)[0] == "scene 3/0.jpg"
    assert page.inner_text("#status") == f"{SCENES * VIEWS} hits for your photograph."
    first = page.locator(".hit").first
    assert float(first.locator(".score").inner_text()) > 0.5
    assert first.locator(".payload").inner_text().split() == ["scene", "3", "view", "0"]
    image = first.locator("img")
    image.scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    assert image.evaluate("image => image.complete && image.naturalWidth") == 96


def test_a_photograph_may_be_dropped_or_pasted(page: Page) -> None:
    data = list(photograph(1, 0))
    script = """([type, numbers]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(numbers)], "one.jpg", {type: "image/jpeg"}));
        const event = type === "drop"
            ? new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true})
            : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true, cancelable: true});
        document.body.dispatchEvent(event);
    }"""
    for kind in ("drop", "paste"):
        page.reload()
        page.evaluate(script, [kind, data])
        page.wait_for_selector(".hit")
        assert _ids(page)[0] == "scene 1/0.jpg"


def test_a_dragged_region_is_searched_with_and_can_be_typed_and_cleared(page: Page) -> None:
    _choose(page, photograph(2, 0))
    page.wait_for_selector(".hit")
    box = page.locator("#photograph").bounding_box()
    assert box is not None
    across, down = box["width"] / 320, box["height"] / 240
    with page.expect_request("**/search?**") as asked:
        page.mouse.move(box["x"] + 40 * across, box["y"] + 30 * down)
        page.mouse.down()
        page.mouse.move(box["x"] + 200 * across, box["y"] + 150 * down, steps=3)
        page.mouse.up()
    crop = [float(edge) for edge in _parameter(asked.value, "crop").split(",")]
    assert crop == pytest.approx([40, 30, 200, 150], abs=1.5)
    page.click("summary:has-text('Region')")
    assert page.input_value("#crop-left") == str(round(crop[0]))
    with page.expect_request("**/search?**") as asked:
        page.fill("#crop-right", "320")
        page.press("#crop-right", "Tab")
    assert _parameter(asked.value, "crop").split(",")[2] == "320"
    with page.expect_request("**/search?**") as asked:
        page.click("text=Whole photograph")
    assert "crop" not in parse_qs(urlsplit(asked.value.url).query)


def _parameter(request: Request, name: str) -> str:
    (value,) = parse_qs(urlsplit(request.url).query)[name]
    return value


def test_filters_and_groups_narrow_the_hits(page: Page) -> None:
    page.click("summary:has-text('Filters')")
    page.click("text=Add a condition")
    page.get_by_label("Key", exact=True).fill("view")
    page.get_by_label("Value").fill("1")
    _choose(page, photograph(5, 0))
    page.wait_for_selector(".hit")
    assert len(_ids(page)) == SCENES
    assert all(name.endswith("/1.jpg") for name in _ids(page))
    page.get_by_label("Test").select_option("is at least")
    page.get_by_label("One hit for each").fill("scene")
    page.get_by_label("One hit for each").press("Enter")
    _searched(page)
    page.wait_for_selector(".id:has-text('/2.jpg')")
    assert len({name.split("/")[0] for name in _ids(page)}) == len(_ids(page)) == SCENES
    page.get_by_role("button", name="Remove this condition").click()
    assert page.locator(".filter").count() == 0


def test_more_like_this_and_the_way_back(page: Page) -> None:
    _choose(page, photograph(4, 0))
    page.wait_for_selector(".hit")
    before = _ids(page)
    page.get_by_role("button", name="More like scene 6/1.jpg", exact=True).click()
    page.wait_for_selector("#status:has-text('like scene 6/1.jpg')")
    assert "similar=scene" in page.url
    assert "scene 6/1.jpg" not in _ids(page)
    assert page.evaluate("document.activeElement.id") == "results"
    page.go_back()
    page.wait_for_selector("#status:has-text('for your photograph')")
    assert _ids(page) == before
    page.go_forward()
    page.wait_for_selector("#status:has-text('like scene 6/1.jpg')")
    page.reload()
    page.wait_for_selector("#status:has-text('like scene 6/1.jpg')")


def test_a_bad_photograph_is_reported_and_the_page_still_works(page: Page) -> None:
    _choose(page, b"Dear diary", "holiday.jpg")
    page.wait_for_selector("#error:not([hidden])")
    assert "Not a supported image" in page.inner_text("#error")
    assert page.locator(".hit").count() == 0
    page.route("**/search?**", lambda route: route.abort())
    _choose(page, photograph(0, 0))
    page.wait_for_selector("#error:has-text('cannot be reached')")
    page.unroute("**/search?**")
    overload = {"title": "Service overloaded", "detail": "16 searches wait already", "status": 429, "code": "x"}
    page.route(
        "**/search?**", lambda route: route.fulfill(status=429, headers={"Retry-After": "1"}, body=json.dumps(overload))
    )
    page.click("#search")
    page.wait_for_selector("#error:has-text('Try again in 1 s')")
    page.unroute("**/search?**")
    page.click("#search")
    page.wait_for_selector(".hit")
    assert page.locator("#error").is_hidden()


def test_text_of_a_payload_is_never_markup(page: Page) -> None:
    hit = {"id": "<b>x</b>", "score": 0.5, "payload": {"<i>k</i>": "<img src=x onerror=alert(1)>"}}
    answer = {"hits": [hit], "timings_ms": {"decode": 1, "encode": 1, "search": 1}, "fingerprint": "0" * 64}
    page.route("**/search?**", lambda route: route.fulfill(json=answer))
    _choose(page, photograph(0, 0))
    page.wait_for_selector(".hit")
    assert page.locator(".hit .id").inner_text() == "<b>x</b>"
    assert page.locator(".hit dd").inner_text() == "<img src=x onerror=alert(1)>"
    page.wait_for_selector(".thumbnail.none")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_on_a_small_phone_and_every_control_has_a_name(page: Page, scheme: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.click("summary:has-text('Filters')")
    page.click("text=Add a condition")
    _choose(page, photograph(7, 0))
    page.wait_for_selector(".hit")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, select, button")].filter((control) =>
            !control.labels?.length && !control.getAttribute("aria-label") && !control.textContent.trim())
            .map((control) => control.outerHTML)"""
    )
    assert unnamed == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(21, 23, 26)") == (scheme == "dark")


def test_a_keyboard_reaches_everything(page: Page) -> None:
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert reached[:4] == ["skip", "file", "camera", ""]  # the last one is the summary of the filters
    assert {"limit", "group"} <= set(reached)


def test_it_can_be_installed(page: Page, query_service: QueryService) -> None:
    address = f"http://127.0.0.1:{query_service.port}/page/manifest.webmanifest"
    manifest = page.request.get(address)
    assert manifest.headers["content-type"] == "application/manifest+json"
    described = manifest.json()
    assert described["display"] == "standalone"
    for icon in described["icons"]:
        answer = page.request.get(urljoin(address, icon["src"]))
        assert answer.ok
        assert answer.headers["content-type"] == icon["type"]


def test_the_page_prompts_for_a_key_and_sends_it_for_thumbnails(
    browser: Browser, query_service: QueryService, tmp_path: Path
) -> None:
    entry = {"name": "page", "sha256": hashlib.sha256(b"0a1b2c").hexdigest(), "scopes": ["search"]}
    shutil.copytree(query_service.gallery, tmp_path / "gallery")
    settings = {"AFF_ACCESS_KEYS": json.dumps([entry])}
    with (
        running_query_service(TINY_BUNDLE, tmp_path / "gallery", settings) as service,
        closing(browser.new_page()) as page,
    ):
        page.goto(f"http://127.0.0.1:{service.port}/")
        _choose(page, photograph(0, 0))
        page.wait_for_selector("#key-form:not([hidden])")
        assert "Key missing" in page.inner_text("#error")
        page.fill("#key", "another")
        page.click("#key-form button")
        page.wait_for_selector("#error:has-text('Invalid key')")
        page.fill("#key", "0a1b2c")
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit .thumbnail img")
        assert page.locator("#key-form").is_hidden()
        assert page.locator(".hit img").first.evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 96


@pytest.mark.parametrize("way", ["taken off", "passed"])
def test_below_a_path_of_a_proxy_it_searches_shows_and_keeps_its_key(
    browser: Browser, query_service: QueryService, tmp_path: Path, way: str
) -> None:
    find_nginx()
    entry = {"name": "page", "sha256": hashlib.sha256(b"0a1b2c").hexdigest(), "scopes": ["search"]}
    shutil.copytree(query_service.gallery, tmp_path / "gallery")
    settings = {"AFF_ACCESS_KEYS": json.dumps([entry]), "AFF_QUERY_ROOT_PATH": "/photos"}
    with (
        running_query_service(TINY_BUNDLE, tmp_path / "gallery", settings) as service,
        nginx_before(service.port, "/photos", tmp_path) as addresses,
        closing(browser.new_page()) as page,
    ):
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status == 404 else None)
        page.goto(f"{addresses[way == 'passed']}/")
        _choose(page, photograph(2, 0))
        page.wait_for_selector("#key-form:not([hidden])")
        page.fill("#key", "0a1b2c")
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit .thumbnail img")
        assert page.locator(".hit img").first.evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 96
        assert [cookie["path"] for cookie in page.context.cookies()] == ["/photos/"]
        page.locator(".hit .similar").first.click()
        page.wait_for_selector("#status:has-text('like scene 2/0.jpg')")
        assert urlsplit(page.url).path == "/photos/"
        page.reload()
        page.wait_for_selector("#status:has-text('like scene 2/0.jpg')")
        assert [url for url in failed if "/page/ort/" not in url] == []  # the page's runtime is there after `make web`
