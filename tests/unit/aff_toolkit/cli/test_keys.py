from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_shared.web.access_control import AccessControl
from aff_shared.web.settings import AccessSettings
from aff_toolkit.cli.main import app


def _run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["keys", "new", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_new_key_is_shown_once_and_its_hash_is_what_the_services_store(monkeypatch: pytest.MonkeyPatch) -> None:
    code, key, said = _run("shop", "--scope", "search", "--scope", "index", "--requests-per-minute", "600")
    assert code == 0
    assert len(key.strip()) >= 43
    assert key.strip() not in said
    monkeypatch.setenv("AFF_ACCESS_KEYS", said.partition("AFF_ACCESS_KEYS='")[2].rstrip("'\n"))
    (entry,) = AccessSettings().all_keys()
    assert entry.sha256 == hashlib.sha256(key.strip().encode()).hexdigest()
    assert (entry.name, entry.scopes, entry.requests_per_minute) == ("shop", ("search", "index"), 600)
    AccessControl(AccessSettings(), "0.0.0.0")


def test_keys_gather_in_a_file_that_its_owner_alone_reads(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert _run("one", "--scope", "search", "--file", str(path))[0] == 0
    assert _run("two", "--scope", "admin", "--file", str(path))[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert [key.name for key in AccessSettings(keys_file=path).all_keys()] == ["one", "two"]
    before = path.read_bytes()
    code, _, said = _run("two", "--scope", "admin", "--file", str(path))
    assert code == 1
    assert "the name 'two' exists" in said
    assert path.read_bytes() == before


def test_json_holds_key_and_entry() -> None:
    document = json.loads(_run("shop", "--scope", "search", "--json")[1])
    assert document["entry"]["sha256"] == hashlib.sha256(document["key"].encode()).hexdigest()


@pytest.mark.parametrize("arguments", [("a b", "--scope", "search"), ("shop", "--scope", "everything"), ("shop",)])
def test_what_makes_no_key_is_reported(arguments: tuple[str, ...]) -> None:
    assert _run(*arguments)[0] == 2
