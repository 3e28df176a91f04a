from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aff_shared.web.deployment_keys import write_deployment_keys


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("server", "writer", "reader"):
        (tmp_path / name).mkdir()
    return tmp_path


def _keys(directory: Path) -> tuple[str, str]:
    return tuple((directory / name / "api-key").read_text().strip() for name in ("writer", "reader"))  # type: ignore[return-value]


def _server(directory: Path) -> dict[str, str]:
    return yaml.safe_load((directory / "server" / "qdrant.yaml").read_text())["service"]


def test_keys_are_made_once_and_the_server_has_both(directory: Path) -> None:
    write_deployment_keys(directory, {})
    writer, reader = _keys(directory)
    assert writer != reader
    assert min(len(writer), len(reader)) >= 43
    assert _server(directory) == {"api_key": writer, "read_only_api_key": reader}
    write_deployment_keys(directory, {})
    assert _keys(directory) == (writer, reader)


def test_keys_of_the_environment_replace_them(directory: Path) -> None:
    write_deployment_keys(directory, {})
    write_deployment_keys(directory, {"QDRANT_API_KEY": "one: #", "QDRANT_READ_ONLY_API_KEY": "another"})
    assert _keys(directory) == ("one: #", "another")
    assert _server(directory) == {"api_key": "one: #", "read_only_api_key": "another"}


def test_other_users_of_a_container_can_read_them_and_no_user_can_write(directory: Path) -> None:
    write_deployment_keys(directory, {"QDRANT_API_KEY": ""})
    for path in (*directory.rglob("api-key"), directory / "server" / "qdrant.yaml"):
        assert path.stat().st_mode & 0o777 == 0o444
