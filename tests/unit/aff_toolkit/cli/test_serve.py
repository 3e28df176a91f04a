"""`aff serve`: how it refuses to start. That it runs is shown by every test that uses the running services."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app

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
