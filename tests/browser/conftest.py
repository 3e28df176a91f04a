"""A real Chromium before a real query service, whose indexer is switched off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from aff_benchmarks.bench.services import QueryService, running_query_service
from aff_benchmarks.report.live_steps import find_chromium
from aff_client.index_client import IndexerClient, Upload
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import local_services
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCENES, VIEWS = 8, 3


def photograph(scene: int, view: int, size: tuple[int, int] = (240, 320)) -> bytes:
    """Return a view of a procedural scene as a JPEG file."""
    return jpeg_bytes(render_view(scene, view, size=size))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    return path


# Playwright keeps an event loop running in its thread: it must be gone before a test of another module runs its own.
@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def query_service(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QueryService]:
    """The query service alone, on a gallery with thumbnails that an indexer filled before it was switched off."""
    del chromium  # without one nothing needs to be started
    directory = tmp_path_factory.mktemp("browser")
    settings = {"AFF_INDEX_THUMBNAIL_SIDE": "96"}
    with local_services(TINY_BUNDLE, directory / "gallery", directory / "log", settings) as services:
        uploads = [
            Upload(f"scene {scene}/{view}.jpg", "photograph", photograph(scene, view), {"scene": scene, "view": view})
            for scene in range(SCENES)
            for view in range(VIEWS)
        ]
        with IndexerClient(services.indexer_url) as indexer:
            assert indexer.index(uploads).indexed == SCENES * VIEWS
    with running_query_service(TINY_BUNDLE, directory / "gallery") as service:
        yield service


@pytest.fixture
def page(browser: Browser, query_service: QueryService) -> Iterator[Page]:
    """A fresh page; whatever a script of it raises fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    raised: list[str] = []
    page.set_default_timeout(20_000)
    page.on("pageerror", lambda error: raised.append(str(error)))
    page.goto(f"http://127.0.0.1:{query_service.port}/")
    yield page
    context.close()
    assert raised == []
