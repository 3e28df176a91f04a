"""A real Chromium before real services."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aff_client.index_client import IndexerClient, Upload
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCENES, VIEWS = 8, 9
SIZES = {"wide": (1280, 800), "phone": (360, 740)}
OpenPage = Callable[..., "Page"]


def photograph(scene: int, view: int, size: tuple[int, int] = (240, 320)) -> bytes:
    """Return a view of a procedural scene as a JPEG file."""
    return jpeg_bytes(render_view(scene, view, size=size))


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
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
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the services' gallery."""
    return tmp_path_factory.mktemp("browser") / "gallery"


@pytest.fixture(scope="session")
def services(chromium: str, gallery: Path) -> Iterator[LocalServices]:
    """Both services, with a gallery of scenes in folders."""
    del chromium  # without one nothing needs to be started
    with local_services(TINY_BUNDLE, gallery, gallery.parent / "log") as running:
        uploads = [
            Upload(f"scene {scene}/{view}.jpg", "photograph", photograph(scene, view), _payload(scene, view))
            for scene in range(SCENES)
            for view in range(VIEWS)
        ]
        with IndexerClient(running.indexer_url) as indexer:
            assert indexer.index(uploads).indexed == SCENES * VIEWS
        yield running


def _payload(scene: int, view: int) -> dict[str, Any]:
    return {
        "folder": f"scene {scene}",
        "file_name": f"{view}.jpg",
        "camera": f"Camera {view % 2}",
        "taken_at": f"{2020 + scene % 2}-05-01T10:00:00+02:00",
    }


@pytest.fixture
def open_page(browser: Browser, services: LocalServices) -> Iterator[OpenPage]:
    """Opens pages without motion; whatever a script of them raises fails the test."""
    raised: list[str] = []
    contexts = []

    def opened(size: str = "wide", path: str = "/", url: str = services.query_url, **options: Any) -> Page:
        width, height = SIZES[size]
        mobile = {"is_mobile": True, "has_touch": True} if size == "phone" else {}
        # Requests of a page with a service worker are not routed to a test.
        given = {"reduced_motion": "reduce", "locale": "en-GB", "service_workers": "block", **mobile, **options}
        context = browser.new_context(viewport={"width": width, "height": height}, **given)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: raised.append(str(error)))
        page.goto(f"{url}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert raised == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A wide page."""
    return open_page()


@pytest.fixture(params=list(SIZES))
def any_page(request: pytest.FixtureRequest, open_page: OpenPage) -> Page:
    """A wide page, and one of a phone."""
    return open_page(request.param)
