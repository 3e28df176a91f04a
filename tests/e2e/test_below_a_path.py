"""The query service below a path of nginx, which takes the path off or passes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import httpx
import pytest

from aff_benchmarks.bench.services import running_query_service
from aff_client import SearchClient
from aff_client.index_client import IndexerClient, Upload
from aff_toolkit.local.local_service import local_services
from tests.support.awkward_ids import ADDRESSABLE
from tests.support.nginx import find_nginx, nginx_before
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TINY_BUNDLE

BELOW = "/photos"
RED, BLUE = plain_png((255, 0, 0)), plain_png((0, 0, 255))


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    directory = tmp_path_factory.mktemp("below")
    find_nginx()  # nothing else needs to be started without it
    settings = {"AFF_INDEX_THUMBNAIL_SIDE": "32"}
    with (
        local_services(TINY_BUNDLE, directory / "gallery", directory / "log", settings) as services,
        IndexerClient(services.indexer_url) as indexer,
    ):
        indexer.index([Upload("a b/red.png", "red.png", RED)])
        answer = indexer.index([Upload(item_id, "blue.png", BLUE) for item_id in ADDRESSABLE])
        assert answer.indexed == len(ADDRESSABLE)
    with (
        running_query_service(TINY_BUNDLE, directory / "gallery", {"AFF_QUERY_ROOT_PATH": BELOW}) as service,
        nginx_before(service.port, BELOW, directory) as urls,
    ):
        yield urls


@pytest.fixture(params=["taken off", "passed"])
def address(request: pytest.FixtureRequest, addresses: tuple[str, str]) -> str:
    return addresses[request.param == "passed"]


def test_the_page_names_its_files_below_the_path(address: str) -> None:
    with httpx.Client() as browser:
        page = browser.get(f"{address}/")
        named = [urljoin(str(page.url), name) for name in re.findall(r'(?:href|src)="([^"#]+)"', page.text)]
        assert named
        assert {urlsplit(name).path.startswith(f"{BELOW}/page/") for name in named} == {True}
        assert {browser.get(name).status_code for name in named} == {200}
        manifest = f"{address}/page/manifest.webmanifest"
        described = browser.get(manifest).json()
        assert {urljoin(manifest, described[name]) for name in ("scope", "start_url")} == {f"{address}/"}
        assert all(browser.get(urljoin(manifest, icon["src"])).status_code == 200 for icon in described["icons"])


def test_the_address_without_its_slash_leads_to_the_page(address: str) -> None:
    page = httpx.get(address, follow_redirects=True)
    assert page.status_code == 200
    assert f'src="{BELOW}/page/app.js"' in page.text


def test_a_page_of_that_address_may_search(address: str) -> None:
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    files = {"image": ("red.png", RED, "image/png")}
    assert httpx.post(f"{address}/search", files=files, headers={"Origin": origin}).status_code == 200


def test_the_client_calls_every_route(address: str) -> None:
    with SearchClient(address) as client:
        assert client.search(RED).hits[0].id == "a b/red.png"
        assert client.image("a b/red.png").width > 0
        assert client.thumbnail("a b/red.png")[:4] == b"RIFF"
        described = client.encoder()
        assert len(client.encoder_model(described.files[0])) == described.files[0].size_bytes


def test_every_id_is_reached_through_it(address: str) -> None:
    with SearchClient(address) as client:
        for item_id in ADDRESSABLE:
            assert client.image(item_id).id == item_id
            assert client.thumbnail(item_id)[:4] == b"RIFF"
            assert item_id not in [hit.id for hit in client.search_similar(item_id, limit=30).hits]


def test_the_documentation_finds_its_document(address: str) -> None:
    assert f'"{BELOW}/openapi.json"' in httpx.get(f"{address}/docs").text
    assert httpx.get(f"{address}/docs/files/swagger-ui-bundle.js").status_code == 200
    assert httpx.get(f"{address}/openapi.json").json()["servers"] == [{"url": BELOW}]


def test_head_is_answered_through_it_and_nothing_is_redirected(address: str) -> None:
    head, get = httpx.head(f"{address}/readyz"), httpx.get(f"{address}/readyz")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    search = httpx.post(f"{address}/search/", content=RED)
    assert (search.status_code, search.json()["hits"][0]["id"]) == (200, "a b/red.png")
