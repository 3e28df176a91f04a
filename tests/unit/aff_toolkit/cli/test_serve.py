"""`aff serve`: settings with which it does not start. Every test with running services shows that it runs."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_shared.web.settings import AccessSettings, Scope
from aff_toolkit.cli import serve as serve_command
from aff_toolkit.cli.main import app
from aff_toolkit.local import run_services as local
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings
from tests.support.other_mixer import write_other_mixer
from tests.support.tiny_bundle import TINY_BUNDLE

cli = CliRunner()


@pytest.mark.parametrize("only", [[], ["--only", "indexer"], ["--only", "query"]])
def test_a_missing_bundle_is_reported_in_one_sentence(only: list[str], tmp_path: Path) -> None:
    command = ["serve", "--bundle", str(tmp_path / "none"), "--gallery-dir", str(tmp_path / "gallery"), *only]
    result = cli.invoke(app, command)
    assert result.exit_code == 1
    assert "no readable bundle.json" in result.stderr
    assert "Traceback" not in result.output


def test_json_output_has_the_addresses_before_anything_starts(tmp_path: Path) -> None:
    command = ["serve", "--bundle", str(tmp_path), "--gallery-dir", str(tmp_path / "gallery"), "--query-port", "9001"]
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
    command = ["serve", "--bundle", str(tmp_path / "own"), "--gallery-dir", str(tmp_path / "gallery")]
    result = cli.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert started
    assert "another embedding space than bundle own, fingerprint" in result.stderr
    assert f"searched with bundle {photos.title}" in result.stderr


class TestKeys:
    """`--keys`, as in the combined image: other machines may reach its ports."""

    @pytest.fixture(autouse=True)
    def accesses(self, monkeypatch: pytest.MonkeyPatch) -> list[AccessSettings]:
        """Arguments with which each service was started."""
        found: list[AccessSettings] = []

        async def start(_: object, indexer: IndexerSettings, query: QuerySettings, __: object) -> None:
            found.extend([indexer.access, query.access])

        monkeypatch.setattr(local, "serve_local", start)
        monkeypatch.setattr(serve_command, "configure_logging", lambda _: None)
        return found

    @staticmethod
    def serve(keys: Path, exit_code: int = 0) -> list[str]:
        result = cli.invoke(app, ["serve", "--host", "0.0.0.0", "--keys", str(keys)])
        assert result.exit_code == exit_code, result.output
        lines: list[str] = result.stderr.splitlines()
        return lines

    def test_without_configured_access_the_first_start_makes_a_key_and_later_ones_keep_it(
        self, tmp_path: Path, accesses: list[AccessSettings]
    ) -> None:
        first, second = self.serve(tmp_path / "keys.json"), self.serve(tmp_path / "keys.json")
        assert len(accesses) == 4
        for access in accesses:
            (entry,) = access.all_keys()
            assert set(entry.scopes) == set(Scope)
            assert entry.sha256 in {hashlib.sha256(line.encode()).hexdigest() for line in first}
            assert access.scopes_without_key([entry], "0.0.0.0") == frozenset()
        assert len(second) < len(first)

    @pytest.mark.parametrize(
        ("setting", "value", "open_to_all"),
        [
            ("AFF_ACCESS_PUBLISHED_HOST", "127.0.0.1", True),
            ("AFF_ACCESS_ANONYMOUS_SCOPES", json.dumps(list(Scope)), True),
            ("AFF_ACCESS_KEYS", json.dumps([{"name": "a", "sha256": "0" * 64, "scopes": ["search"]}]), False),
        ],
    )
    def test_a_setting_of_access_has_precedence(
        self,
        setting: str,
        value: str,
        open_to_all: bool,
        tmp_path: Path,
        accesses: list[AccessSettings],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv(setting, value)
        self.serve(tmp_path / "keys.json")
        assert not list(tmp_path.iterdir())
        for access in accesses:
            without_key = access.scopes_without_key(access.all_keys(), "0.0.0.0")
            assert without_key == (frozenset(Scope) if open_to_all else frozenset())

    def test_a_directory_that_cannot_be_written_is_named(self, tmp_path: Path) -> None:
        said = " ".join(self.serve(tmp_path / "none" / "keys.json", exit_code=1))
        assert "the key cannot be saved: No such file or directory" in said
        assert "Traceback" not in said
