"""Steps of a person on the page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Request

WAIT_S = 10.0
HITS = ".hits .tile:not(.placeholder)"


def choose(page: Page, data: bytes, name: str = "photograph.jpg", kind: str = "image/jpeg") -> None:
    """Choose a photograph to search with."""
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def search(page: Page, data: bytes) -> list[str]:
    """Search with a photograph and return the ids of the hits."""
    choose(page, data)
    return hit_ids(page)


def hit_ids(page: Page) -> list[str]:
    """Wait for the end of a search and return the ids of the hits."""
    page.wait_for_selector(f".search:not([aria-busy]) {HITS}")
    return ids_of(page.locator(HITS))


def ids_of(tiles: Locator) -> list[str]:
    """Return the ids of photographs in a grid."""
    found: list[str] = tiles.evaluate_all("tiles => tiles.filter(one => !one.hidden).map(one => one.dataset.id)")
    return found


def pick(page: Page, menu: str, *options: str) -> None:
    """Open the menu of a chip and pick options."""
    page.locator("summary:visible", has_text=menu).click()
    for option in options:
        page.locator("details[open] .options label", has_text=option).click()


def transfer(page: Page, event: str, files: list[tuple[str, bytes]]) -> None:
    """Drop files on the page, or paste them."""
    page.evaluate(
        """([event, files]) => {
            const transfer = new DataTransfer();
            for (const [name, data] of files) {
                transfer.items.add(new File([new Uint8Array(data)], name, {type: "image/jpeg"}));
            }
            const options = {bubbles: true, cancelable: true};
            document.body.dispatchEvent(event === "drop"
                ? new DragEvent("drop", {...options, dataTransfer: transfer})
                : new ClipboardEvent("paste", {...options, clipboardData: transfer}));
        }""",
        [event, [(name, list(data)) for name, data in files]],
    )


def eventually(page: Page, script: str, arg: object = None) -> None:
    """Wait until a script returns true; `wait_for_function` needs an eval, which the page's security policy forbids."""
    deadline = time.monotonic() + WAIT_S
    while not page.evaluate(script, arg):
        assert time.monotonic() < deadline, script
        page.wait_for_timeout(20)


def parameter(request: Request, name: str) -> str | None:
    """Return a query parameter of a request."""
    found = parse_qs(urlsplit(request.url).query).get(name)
    return found[0] if found else None


def answer_search(page: Page, *hits: dict[str, Any]) -> None:
    """Answer every search with these hits."""
    described = [{"payload": {}, "width": 320, "height": 240, "strength": None, **hit} for hit in hits]
    body = {"hits": described, "timings_ms": {"decode": 1, "encode": 1, "search": 1}, "fingerprint": "0" * 64}
    page.route("**/search?**", lambda route: route.fulfill(json=body))


def fail_search(page: Page, status: int, code: str, **headers: str) -> None:
    """Answer every search with a problem."""
    problem = {"title": "Title", "detail": "detail", "status": status, "code": code}
    page.route("**/search?**", lambda route: route.fulfill(status=status, headers=headers, json=problem))
