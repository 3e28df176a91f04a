"""Embeddings that the page makes in a real browser."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_MS = 20_000


class BrowserMissingError(Exception):
    """There is no browser, nothing to drive it with, or nothing that encodes in it; says which."""


def find_chromium() -> str | None:
    """Return the path of the system's Chromium, if there is one."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def browser_embeddings(url: str, photographs: Sequence[bytes]) -> NDArray[np.float32]:
    """Search with each photograph on the device, in headless Chromium, and keep what was sent to the service.

    Args:
        url: Of a running query service with its page.
        photographs: PNG files.

    Returns:
        (Q, D), unit length.

    Raises:
        BrowserMissingError: It cannot be done on this machine.
    """
    path = find_chromium()
    if path is None or find_spec("playwright") is None:
        raise BrowserMissingError("there is no Chromium" if path is None else "playwright is not installed")
    from playwright.sync_api import Error  # noqa: PLC0415 - not on every machine

    try:
        return _sent(path, url, photographs)
    except Error as error:
        raise BrowserMissingError(f"Chromium failed: {str(error).splitlines()[0]}") from error


def _sent(path: str, url: str, photographs: Sequence[bytes]) -> NDArray[np.float32]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        page.goto(url)
        page.wait_for_load_state("networkidle")
        if page.locator("#device-switch").is_hidden():
            raise BrowserMissingError("the page's runtime is not built: make web")
        page.check("#device")
        found = []
        for photograph in photographs:
            with page.expect_response("**/search/embedding") as answered:
                page.set_input_files("#file", {"name": "query", "mimeType": "image/png", "buffer": photograph})
            sent = json.loads(answered.value.request.post_data or "{}")
            found.append(np.frombuffer(base64.b64decode(sent["embedding"]), "<f4"))
        browser.close()
    return np.stack(found)
