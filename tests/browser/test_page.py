"""Access, proxies, accessibility, languages and the weight of the page."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest
import trustme

from aff_benchmarks.bench.services import QueryService, running_query_service
from aff_toolkit.local.local_service import LocalServices, free_ports, local_services
from tests.browser.conftest import SIZES, OpenPage, photograph
from tests.browser.steps import HITS, choose, eventually, fail_search, hit_ids, search, transfer
from tests.support.nginx import find_nginx, nginx_before, running_nginx
from tests.support.tiny_bundle import TINY_BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

KEY = "0a1b2c"
AXE = Path(__file__).parents[2] / "services/query_api/web/node_modules/axe-core/axe.min.js"
RUN_AXE = """options => axe.run(document, {resultTypes: ["violations"], ...options})
    .then(({violations}) => violations)"""
MOST_BYTES = 100_000
MOST_SHIFT = 0.02
LOADED = "image => image.decode().then(() => image.naturalWidth)"


@contextmanager
def query_service(gallery: Path, directory: Path, **settings: str) -> Iterator[QueryService]:
    """Run a query service alone on a copy of a gallery, with a key and without an indexer."""
    shutil.copytree(gallery, directory / "gallery")
    entry = {"name": "page", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "scopes": ["search"]}
    given = {"AFF_ACCESS_KEYS": json.dumps([entry]), **settings}
    with running_query_service(TINY_BUNDLE, directory / "gallery", given) as service:
        yield service


def enter(page: Page, key: str) -> None:
    """Enter a key where the page prompts for one."""
    page.locator(".key-form:visible input").fill(key)
    page.keyboard.press("Enter")


def test_the_page_prompts_for_a_key_where_it_is_needed_and_sends_it_for_thumbnails(
    open_page: OpenPage, gallery: Path, tmp_path: Path
) -> None:
    with query_service(gallery, tmp_path) as service:
        page = open_page(url=f"http://127.0.0.1:{service.port}")
        page.wait_for_selector(".start .notice:has-text('Searching needs a key.')")
        choose(page, photograph(0, 0))
        page.wait_for_selector(".message .notice:has-text('Searching needs a key.')")
        enter(page, "another")
        page.wait_for_selector(".notice:has-text('That key is not valid here.')")
        enter(page, KEY)
        hit_ids(page)
        assert page.locator(f"{HITS} img").first.evaluate(LOADED) == 320
        page.wait_for_selector(".found summary:has-text('Folder')")
        page.get_by_role("link", name="Add").click()
        page.wait_for_selector(".add .notice:has-text('no indexer is set up for this page')")
        page.get_by_role("link", name="Gallery").click()
        page.locator(".days .tile .open").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        page.wait_for_selector("dialog .notice:has-text('no indexer is set up for this page')")


def test_the_indexer_has_a_key_of_its_own(page: Page) -> None:
    problem = {"title": "Key missing", "detail": "send a key", "status": 401, "code": "key_missing"}
    sent: list[str | None] = []

    def answer(route: Any) -> None:
        sent.append(route.request.headers.get("authorization"))
        if sent[-1] is None:
            route.fulfill(status=401, json=problem, headers={"Access-Control-Allow-Origin": "*"})
        else:
            route.fulfill(status=200, json={"up_to_date": ["a.jpg"]}, headers={"Access-Control-Allow-Origin": "*"})

    page.route("**/images/lookup", answer)
    page.get_by_role("link", name="Add").click()
    page.set_input_files("#files", {"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photograph(0, 0)})
    page.wait_for_selector(".add .notice:has-text('Adding, editing and deleting need a key.')")
    enter(page, KEY)
    page.wait_for_selector(".chip:has-text('Already there 1')")
    assert sent == [None, f"Bearer {KEY}"]


@pytest.mark.parametrize("way", ["taken off", "passed"])
def test_below_a_path_of_a_proxy_it_searches_shows_and_keeps_its_key(
    open_page: OpenPage, gallery: Path, tmp_path: Path, way: str
) -> None:
    find_nginx()
    with (
        query_service(gallery, tmp_path, AFF_QUERY_ROOT_PATH="/photos") as service,
        nginx_before(service.port, "/photos", tmp_path) as addresses,
    ):
        page = open_page(url=addresses[way == "passed"])
        failed: list[str] = []
        page.on("response", lambda answer: failed.append(answer.url) if answer.status == 404 else None)
        choose(page, photograph(2, 0))
        page.wait_for_selector(".message .key-form")
        enter(page, KEY)
        first = hit_ids(page)[0]
        assert page.locator(f"{HITS} img").first.evaluate(LOADED) == 320
        assert [cookie["path"] for cookie in page.context.cookies()] == ["/photos/"]
        page.locator(f"{HITS} .open").first.click()
        page.get_by_role("button", name="More like this").click()
        page.wait_for_selector(f".query-name:has-text('{first}')")
        assert urlsplit(page.url).path == "/photos/"
        page.reload()
        hit_ids(page)
        assert [url for url in failed if "/page/ort/" not in url] == []  # the page's runtime is there after `make web`


def test_over_tls_below_a_path_it_adds_finds_and_deletes_through_the_proxy_of_the_guide(
    open_page: OpenPage, tmp_path: Path
) -> None:
    find_nginx()
    (proxy,) = free_ports(1)
    settings = {"AFF_QUERY_ROOT_PATH": "/photos", "AFF_QUERY_PAGE_INDEXER_URL": "/photos/indexer"}
    with local_services(TINY_BUNDLE, tmp_path / "gallery", tmp_path / "log", settings) as services:
        servers = _tls_server(proxy, _locations_of_the_guide(services), tmp_path)
        with running_nginx(servers, [proxy], tmp_path):
            page = open_page("phone", url=f"https://127.0.0.1:{proxy}/photos", ignore_https_errors=True)
            transfer(page, "drop", [(f"{scene}.jpg", photograph(scene, 0)) for scene in range(3)])
            page.wait_for_selector(".progress-text:has-text('Done: 3 photographs added.')")
            page.get_by_role("button", name="Search now").click()
            assert search(page, photograph(1, 1))[0] == "1.jpg"
            page.locator(f"{HITS} .open").first.click()
            page.get_by_role("dialog").get_by_role("button", name="Delete").click()
            eventually(page, "async () => (await fetch('/photos/images?id=1.jpg')).status === 404")


def _locations_of_the_guide(services: LocalServices) -> str:
    """Return the locations of docs/deployment.md that publish both services, with the ports of running ones."""
    guide = (Path(__file__).parents[2] / "docs/deployment.md").read_text()
    locations = [block for block in re.findall(r"```nginx\n(.*?)```", guide, re.DOTALL) if "location /photos" in block]
    assert len(locations) == 2
    ports = {":8001": services.query_url, ":8002": services.indexer_url}
    return re.sub(r":800[12]", lambda port: f":{urlsplit(ports[port[0]]).port}", "".join(locations))


def _tls_server(port: int, locations: str, directory: Path) -> str:
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
    return f"""server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {directory}/server.pem;
        ssl_certificate_key {directory}/server.pem;
        {locations}    }}"""


def test_it_can_be_installed(page: Page, services: LocalServices) -> None:
    address = f"{services.query_url}/page/manifest.webmanifest"
    manifest = page.request.get(address)
    assert manifest.headers["content-type"] == "application/manifest+json"
    described = manifest.json()
    assert described["display"] == "standalone"
    for icon in described["icons"]:
        answer = page.request.get(urljoin(address, icon["src"]))
        assert answer.ok
        assert answer.headers["content-type"] == icon["type"]


def test_the_first_view_is_light(browser: Any, services: LocalServices) -> None:
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: dict[str, float] = {}
    paths: dict[str, str] = {}
    network.on("Network.requestWillBeSent", lambda sent: paths.update({sent["requestId"]: sent["request"]["url"]}))
    network.on("Network.loadingFinished", lambda ended: sizes.update({ended["requestId"]: ended["encodedDataLength"]}))
    page.goto(services.query_url)
    page.wait_for_selector(".start .tile")
    page.wait_for_load_state("networkidle")
    own = {paths[key]: size for key, size in sizes.items() if "/thumbnails" not in paths[key]}
    context.close()
    assert [path for path in own if path.endswith(".js")] == [f"{services.query_url}/page/app.js"]
    assert sum(own.values()) < MOST_BYTES


@pytest.mark.parametrize("size", list(SIZES))
def test_results_do_not_shift(open_page: OpenPage, size: str) -> None:
    page = open_page(size)
    page.wait_for_selector(".start .tile")
    page.evaluate(
        """() => {
            globalThis.shift = 0;
            new PerformanceObserver(list => {
                for (const entry of list.getEntries()) globalThis.shift += entry.value;
            }).observe({type: "layout-shift"});
        }"""
    )
    search(page, photograph(3, 0))
    page.locator(f"{HITS} img").first.evaluate(LOADED)
    page.locator("summary.chip").first.wait_for()
    page.wait_for_load_state("networkidle")
    assert page.evaluate("globalThis.shift") < MOST_SHIFT


def violations(page: Page) -> list[str]:
    """Return what axe reports in the light and in the dark, where only colours are different."""
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(RUN_AXE, {})
    page.emulate_media(color_scheme="dark")
    found += page.evaluate(RUN_AXE, {"runOnly": ["color-contrast"]})
    page.emulate_media(color_scheme="light")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


@pytest.mark.skipif(not AXE.exists(), reason="axe is not installed: make web")
@pytest.mark.parametrize("size", list(SIZES))
def test_axe_finds_nothing_in_any_state(open_page: OpenPage, size: str) -> None:
    page = open_page(size, color_scheme="light")
    found: dict[str, list[str]] = {}
    page.wait_for_selector(".start .tile")
    found["start"] = violations(page)
    search(page, photograph(3, 0))
    page.locator("summary.chip").first.wait_for()
    found["hits"] = violations(page)
    page.get_by_role("button", name="Select a part").click()
    hit_ids(page)
    page.locator("summary.chip").first.click()
    found["part and menu"] = violations(page)
    page.keyboard.press("Escape")
    page.locator(f"{HITS} .open").first.click()
    page.wait_for_selector("dialog[open] dl")
    found["large"] = violations(page)
    page.get_by_role("button", name="Edit details").click()
    found["edit"] = violations(page)
    page.keyboard.press("Escape")
    fail_search(page, 401, "key_missing")
    page.reload()
    page.wait_for_selector(".key-form")
    found["key"] = violations(page)
    page.get_by_role("link", name="Gallery").click()
    page.locator(".days .selector input").first.check(force=True)
    found["selection"] = violations(page)
    page.get_by_role("link", name="Add").click()
    page.wait_for_selector(".add .drop-card:visible")
    found["add"] = violations(page)
    page.set_input_files("#files", {"name": "bad.jpg", "mimeType": "image/jpeg", "buffer": b"Dear diary"})
    page.wait_for_selector(".receipt.rejected")
    found["receipts"] = violations(page)
    assert {state: reported for state, reported in found.items() if reported} == {}
    assert page.evaluate("document.documentElement.scrollWidth") == SIZES[size][0]


def test_a_keyboard_searches_opens_and_returns(page: Page) -> None:
    page.wait_for_selector(".start .tile")
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent || document.activeElement.ariaLabel"))
    assert reached[:6] == [
        "Skip to the content",
        "Search by photograph",
        "Search",
        "Gallery",
        "Add",
        "Choose a photograph",
    ]
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")
    chooser.value.set_files({"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photograph(3, 0)})
    first = hit_ids(page)[0]
    page.locator(f"{HITS} .open").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("document.activeElement.ariaLabel") == "Close"
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for(state="hidden")
    assert page.evaluate("document.activeElement.closest('.tile').dataset.id") == first


def test_results_are_announced(page: Page) -> None:
    search(page, photograph(3, 0))
    assert page.get_by_role("status").first.text_content() == "48 photographs"


def test_the_language_is_the_browsers(open_page: OpenPage) -> None:
    page = open_page(locale="de-AT")
    assert page.locator("nav").inner_text().split() == ["Suchen", "Galerie", "Hinzufügen"]
    assert page.evaluate("document.documentElement.lang") == "de"
    search(page, photograph(3, 0))
    assert page.inner_text("#results") == "48 Fotos"
    english = open_page(locale="fr-FR")
    assert english.locator("nav").inner_text().split() == ["Search", "Gallery", "Add"]


def test_every_text_is_there_in_both_languages_with_the_same_values(page: Page) -> None:
    texts = page.evaluate("import('./page/texts.js').then(({TEXTS}) => TEXTS)")
    assert texts["en"].keys() == texts["de"].keys()

    def names(text: str | dict[str, str]) -> set[str]:
        every = text if isinstance(text, str) else text["other"]
        return {part.split("}")[0] for part in every.split("{")[1:]}

    assert [key for key in texts["en"] if names(texts["en"][key]) != names(texts["de"][key])] == []


def test_transitions_are_for_those_who_want_motion(open_page: OpenPage) -> None:
    page = open_page(reduced_motion="no-preference")
    started = """() => {
        const start = Document.prototype.startViewTransition;
        globalThis.count = 0;
        Document.prototype.startViewTransition = function (change) {
            globalThis.count++;
            return start.call(this, change);
        };
    }"""
    page.evaluate(started)
    page.get_by_role("link", name="Gallery").click()
    page.wait_for_selector(".days .tile")
    assert page.evaluate("globalThis.count") == 1
    page.emulate_media(reduced_motion="reduce")
    page.get_by_role("link", name="Add").click()
    page.wait_for_selector(".add .drop-card:visible")
    assert page.evaluate("globalThis.count") == 1
