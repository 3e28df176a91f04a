"""The page on a gallery of another tool's vectors, which has no query encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from aff_toolkit.local.local_service import local_services
from tests.browser.conftest import photograph
from tests.browser.steps import choose
from tests.support.gallery_points import random_units
from tests.support.tiny_bundle import TINY_BUNDLE

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def page(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    monkeypatch.setenv("QDRANT_URL", "")
    shutil.copytree(TINY_BUNDLE, tmp_path / "bundles" / "tiny")
    np.save(tmp_path / "embeddings.npy", random_units(3, seed=1))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"id": f"{number}.jpg"}) + "\n" for number in range(3)))
    words = [
        "--name",
        "clip",
        "--ids",
        rows,
        "--gallery-dir",
        tmp_path / "gallery",
        "--bundles-dir",
        tmp_path / "bundles",
    ]
    result = CliRunner().invoke(app, ["gallery", "import", *map(str, [tmp_path / "embeddings.npy", *words])])
    assert result.exit_code == 0, result.output
    with local_services(tmp_path / "bundles" / "tiny", tmp_path / "gallery", tmp_path / "log") as services:
        # Only now: in its thread no other event loop can run.
        context = request.getfixturevalue("browser").new_context(locale="en-GB")
        page = context.new_page()
        page.goto(services.query_url)
        yield page
        context.close()


def test_a_photograph_is_neither_searched_nor_added_and_the_page_says_why(page: Page) -> None:
    choose(page, photograph(0, 0))
    notice = page.locator(".notice")
    notice.wait_for()
    assert "was imported from another tool and cannot be searched" in notice.inner_text()
    assert notice.locator("button").count() == 0
    page.locator("nav").get_by_text("Add").click()
    files: Any = [{"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": photograph(0, 0)} for name in "ab"]
    page.set_input_files("#files", files)
    notice = page.locator(".notice:visible")
    notice.wait_for()
    assert "no photographs can be added" in notice.inner_text()
    assert "automatically" not in notice.inner_text()
    assert "Waiting 2" in page.inner_text("main")
