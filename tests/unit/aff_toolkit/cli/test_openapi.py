"""`aff openapi`."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from aff_toolkit.cli.main import app

cli = CliRunner()


def test_the_documents_of_both_services_are_written(tmp_path: Path) -> None:
    result = cli.invoke(app, ["openapi", str(tmp_path / "new")])
    assert result.exit_code == 0, result.output
    documents = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (tmp_path / "new").iterdir()}
    assert "/index" in documents["gallery_indexer"]["paths"]
    assert "/search" in documents["query_api"]["paths"]


def test_json_output_has_the_paths(tmp_path: Path) -> None:
    result = cli.invoke(app, ["openapi", str(tmp_path), "--json"])
    assert json.loads(result.stdout) == {
        name: str(tmp_path / f"{name}.json") for name in ("gallery_indexer", "query_api")
    }
