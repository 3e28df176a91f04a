"""`aff serve`: how it refuses to start. That it runs is shown by every test that uses the running services."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_contracts.bundle import load_manifest
from aff_contracts.gallery_store.open_catalogue import open_catalogue
from aff_contracts.gallery_store.settings import StoreSettings
from aff_toolkit import local
from aff_toolkit.cli import serve as serve_command
from aff_toolkit.cli.main import app
from tests.support.other_mixer import write_other_mixer
from tests.support.tiny_bundle import TINY_BUNDLE

cli = CliRunner()


@pytest.mark.parametrize("only", [[], ["--only", "indexer"], ["--only", "query"]])
def test_a_missing_bundle_is_told_in_one_sentence(only: list[str], tmp_path: Path) -> None:
    command = ["serve", "--bundle", str(tmp_path / "none"), "--gallery", str(tmp_path / "gallery"), *only]
    result = cli.invoke(app, command)
    assert result.exit_code == 1
    assert "no readable bundle.json" in result.stderr
    assert "Traceback" not in result.output


def test_machines_get_the_addresses_before_anything_starts(tmp_path: Path) -> None:
    command = ["serve", "--bundle", str(tmp_path), "--gallery", str(tmp_path / "gallery"), "--query-port", "9001"]
    result = cli.invoke(app, [*command, "--json"])
    addresses, end = json.JSONDecoder().raw_decode(result.stdout)
    assert addresses == {
        "query": "http://127.0.0.1:9001",
        "indexer": "http://127.0.0.1:8002",
        "store": str(tmp_path / "gallery"),
    }
    assert json.loads(result.stdout[end:])["code"] == "bundle_not_found"


def test_a_gallery_of_another_bundle_is_announced_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(TINY_BUNDLE, tmp_path / "photos")
    photos = load_manifest(tmp_path / "photos")
    write_other_mixer(tmp_path / "photos", tmp_path / "own", name="own")

    async def create() -> None:
        catalogue = await open_catalogue(StoreSettings(url="", edge_path=tmp_path / "gallery"))
        await catalogue.create(photos.space)
        await catalogue.close()

    asyncio.run(create())
    started: list[bool] = []

    async def start(_: object) -> None:
        started.append(True)

    monkeypatch.setattr(local, "serve", start)
    monkeypatch.setattr(serve_command, "configure_logging", lambda _: None)
    command = ["serve", "--bundle", str(tmp_path / "own"), "--gallery", str(tmp_path / "gallery")]
    result = cli.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert started
    assert "another embedding space than bundle own, fingerprint" in result.stderr
    assert f"searched with bundle {photos.title}" in result.stderr
