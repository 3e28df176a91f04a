"""`aff gallery` against the running services."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aff_client.index_client import IndexerClient, Upload
from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.store.embedded.directory import acquire_lock
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_toolkit.cli.main import app
from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.gallery_points import make_points, make_space
from tests.support.other_mixer import write_other_mixer
from tests.support.plain_photograph import plain_png
from tests.support.tiny_bundle import TinyBundle

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Running:
    services: LocalServices
    photographs: Path
    backups: Path
    old: BundleManifest
    new: BundleManifest

    def aff(self, *words: str | Path, code: int = 0) -> Result:
        where = ["--indexer-url", self.services.indexer_url]
        result = CliRunner().invoke(app, ["gallery", *map(str, words), *where])
        assert result.exit_code == code, result.output
        return result

    def reported(self, *words: str | Path, code: int = 0) -> Any:
        return json.loads(self.aff(*words, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def running(tiny_bundle: TinyBundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gallery of six photographs in the collection of the bundle `old`; `new` is next to it."""
    directory = tmp_path_factory.mktemp("model-change")
    shutil.copytree(tiny_bundle.bundle, directory / "bundles" / "old")
    old = load_manifest(directory / "bundles" / "old")
    new = write_other_mixer(directory / "bundles" / "old", directory / "bundles" / "new", name="new")
    photographs = directory / "photographs"
    photographs.mkdir()
    for number in range(6):
        (photographs / f"{number}.png").write_bytes(plain_png((40 * number, 200 - 30 * number, 90)))
    settings = {
        "AFF_INDEX_BACKUPS_PATH": str(directory / "backups"),
        "AFF_INDEX_KEPT_TOKENS_PATH": str(directory / "tokens"),
    }
    with local_services(directory / "bundles" / "old", directory / "gallery", directory / "log", settings) as services:
        found = Running(services, photographs, directory / "backups", old, new)
        result = CliRunner().invoke(app, ["index", str(photographs), "--indexer-url", services.indexer_url])
        assert result.exit_code == 0, result.output
        yield found


def live(gallery: Any) -> list[tuple[str, bool, int]]:
    return [(one["bundle"], one["live"], one["count"]) for one in gallery["collections"]]


def test_a_model_change_from_build_to_drop(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = (manifest.space.id[:12] for manifest in (running.old, running.new))
    assert live(running.reported("list")) == [(running.old.name, True, 6)]

    assert "index all sources again" in running.aff("build", "--bundle", "new").stderr
    refused = running.aff("switch", new, code=3)
    assert "6 images are missing" in refused.stderr
    missing = running.reported("verify", new, code=3)
    assert (missing["missing"], sorted(missing["missing_ids"])) == (6, [f"{number}.png" for number in range(6)])

    built = running.reported("build", "--bundle", "new", running.photographs)
    assert (built["indexed"], built["duplicate"], built["failed"]) == (6, 0, 0)
    compared = running.reported("verify", new, "--neighbours", "3")
    assert (compared["missing"], compared["surplus"], compared["live_count"], compared["count"]) == (0, 0, 6, 6)
    assert 1 <= compared["samples"] <= 6
    assert "Both contain the same images. Next: aff gallery switch" in running.aff("verify", new).stdout

    assert live(running.reported("switch", new)) == [("new", True, 6), (running.old.name, False, 6)]
    assert live(running.reported("rollback")) == [(running.old.name, True, 6), ("new", False, 6)]
    assert live(running.reported("rollback")) == [("new", True, 6), (running.old.name, False, 6)]
    assert running.reported("drop", new, code=1)["code"] == "collection_live"
    assert live(running.reported("drop", old)) == [("new", True, 6)]
    fused = running.reported("remix", "--mixer", "old")
    assert (fused["state"], fused["done"], fused["total"], fused["result"]["missing"]) == ("finished", 6, 6, 0)
    assert "6 images processed. Next: aff gallery verify" in running.aff("remix", "--mixer", "old").stdout
    assert running.reported("verify", old)["missing"] == 0
    assert running.reported("list")["kept_tokens"]["images"] == 6
    running.reported("drop", old)
    assert running.reported("rollback", code=1)["code"] == "collection_not_found"


def test_a_gallery_goes_back_to_its_backup(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = running.reported("backup", "before")
    assert (made["name"], made["count"], made["store"]) == ("before", 6, "qdrant_edge")
    assert running.reported("backup", "before", code=1)["code"] == "backup_impossible"
    assert (running.reported("jobs")[0]["item"], running.reported("jobs")[0]["state"]) == ("before", "finished")
    assert "backup before: finished, 6 of 6 images" in running.aff("jobs").stdout
    assert "To restore it: aff gallery restore 20" in running.aff("backup").stdout
    with IndexerClient(running.services.indexer_url) as client:
        later, first = client.backups()
        assert (first.name, first.count, later.name[:2]) == ("before", 6, "20")
        files = (running.backups / "before").glob("collections/*/*.parquet")
        assert first.size_bytes == sum(file.stat().st_size for file in files) > 0
        assert [one["name"] for one in running.reported("backups")] == [later.name, "before"]
        table = running.aff("backups").stdout
        assert all(
            shown in table for shown in ("before", first.spaces[0].id[:12], f"{first.created_at:%Y-%m-%d %H:%M}")
        )
        client.index([Upload("late", "late.png", plain_png((1, 2, 3)))])
        assert client.gallery().count == 7
        assert running.reported("restore", "before", code=1)["code"] == "backup_impossible"
        assert running.reported("restore", "before", "--force")["count"] == 6
        client.index([Upload("later", "later.png", plain_png((3, 2, 1)))])
        assert client.gallery().count == 7
    assert running.reported("restore", "none", "--force", code=1)["code"] == "backup_not_found"
    assert running.reported("restore", "../bundles", code=1)["code"] == "parameter_invalid"


def test_a_bundle_that_does_not_exist_is_reported(running: Running) -> None:
    assert running.reported("build", "--bundle", "none", code=1)["code"] == "bundle_unknown"


def test_the_table_states_what_is_live(running: Running) -> None:
    table = running.aff("list").stdout
    assert "gallery in qdrant_edge" in table
    assert any(bundle.fingerprint[:12] in table for bundle in (running.old, running.new))
    assert "live" in table


def _aff(*words: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["gallery", *map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_a_gallery_is_exported_and_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_URL", "")

    async def fill(count: int) -> None:
        catalogue = await open_catalogue(StoreSettings(url="", edge_path=tmp_path / "old"))
        await catalogue.create(make_space())
        await (await catalogue.collection(make_space())).upsert(make_points(count))
        await catalogue.close()

    asyncio.run(fill(7))
    old, new = ("--gallery-dir", tmp_path / "old"), ("--gallery-dir", tmp_path / "new")
    lock = acquire_lock(tmp_path / "old")  # as a service does
    assert _aff("export", tmp_path / "files", *old, code=1)["code"] == "store_locked"
    os.close(lock)
    assert _aff("export", tmp_path / "files", "--gallery-dir", tmp_path / "none", code=1)["code"] == "gallery_missing"
    assert not (tmp_path / "none").exists()
    made = _aff("export", tmp_path / "files", *old)
    assert (made["name"], made["count"], made["store"]) == ("files", 7, "qdrant_edge")
    assert _aff("export", tmp_path / "files", *old, code=1)["code"] == "backup_impossible"
    assert _aff("import", tmp_path / "files", *new)["count"] == 7
    assert _aff("import", tmp_path / "files", *new, code=1)["code"] == "backup_impossible"
    assert _aff("import", tmp_path / "files", *new, "--force")["count"] == 7
    assert _aff("import", tmp_path / "nothing", *new, "--force", code=1)["code"] == "backup_not_found"
    shown = CliRunner().invoke(app, ["gallery", "export", str(tmp_path / "again"), *map(str, new)])
    assert f"{make_space().id[:12]} (live): 7 images in" in shown.stdout
