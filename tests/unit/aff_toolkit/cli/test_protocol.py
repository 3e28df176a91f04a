"""`aff protocol`: files that `aff evaluate csv` takes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from aff_toolkit.evaluation.protocols import open_set_protocol


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    path = tmp_path / "frames.csv"
    rows = [f"{second}.png,walk,{second}" for second in range(8)]
    path.write_text("path,instance,frame\n" + "\n".join(rows), encoding="utf-8")
    return path


def test_frames_of_a_walk_become_a_protocol_and_the_next_command_is_shown(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "protocol.csv"
    words = ["protocol", "frames", str(frames), str(out), "--query-every", "4", "--positive-within", "1"]
    result = CliRunner().invoke(app, [*words, "--junk-within", "2"])
    assert result.exit_code == 0, result.output
    assert f"{out}: 2 queries with 3 positives, 6 gallery images. Next: aff evaluate csv {out}" in result.stdout
    relevance = open_set_protocol(out).relevance()
    # The queries are the seconds 0 and 4, the gallery 1, 2, 3, 5, 6, 7.
    assert [rows.tolist() for rows in relevance.relevant] == [[0], [2, 3]]
    assert [rows.tolist() for rows in relevance.ignored] == [[1], [1, 4]]


def test_json_output_has_the_numbers(frames: Path, tmp_path: Path) -> None:
    out = tmp_path / "protocol.csv"
    result = CliRunner().invoke(app, ["protocol", "frames", str(frames), str(out), "--json"])
    assert json.loads(result.stdout) == {"file": str(out), "queries": 3, "gallery": 5, "positives": 2 + 4 + 3}


@pytest.mark.parametrize(
    ("options", "code"),
    [(["--role", "dev"], "photograph_list_invalid"), (["--junk-within", "1"], "parameter_invalid")],
)
def test_bad_input_is_reported_and_nothing_is_written(
    frames: Path, tmp_path: Path, options: list[str], code: str
) -> None:
    out = tmp_path / "protocol.csv"
    result = CliRunner().invoke(app, ["protocol", "frames", str(frames), str(out), "--json", *options])
    assert (result.exit_code, json.loads(result.stdout)["code"]) == (1, code)
    assert not out.exists()


def test_the_file_that_is_read_is_never_written_over(frames: Path) -> None:
    before = frames.read_bytes()
    result = CliRunner().invoke(app, ["protocol", "frames", str(frames), str(frames), "--json"])
    assert json.loads(result.stdout)["item"] == "OUT"
    assert frames.read_bytes() == before
