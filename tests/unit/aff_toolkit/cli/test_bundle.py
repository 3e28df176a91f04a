"""`aff bundle inspect`, `aff bundle verify`, `aff bundle repair` and `aff bundle calibrate`."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.cli.main import app
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_bundle import TinyBundle
from tests.support.tiny_training import TinyTraining

cli = CliRunner()


@pytest.fixture
def copy(tiny_bundle: TinyBundle, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_bundle.bundle, tmp_path / "bundle")


def test_inspect_shows_identity_features_figures_and_licences(tiny_training: TinyTraining) -> None:
    result = cli.invoke(app, ["bundle", "inspect", str(tiny_training.bundle)])
    assert result.exit_code == 0, result.output
    for words in (
        tiny_training.manifest.fingerprint,
        "16-d cosine",
        "residual network of width 8",
        "gallery feature: rootsift, local, 130-d",
        "4 landmarks x 1 queries",
        "asymmetric",
        "with an int8 query encoder: mAP",
        "mAP@100",
        "Apache-2.0",
    ):
        assert words in result.stdout


def test_inspect_returns_the_manifest_to_machines(tiny_bundle: TinyBundle) -> None:
    result = cli.invoke(app, ["bundle", "inspect", str(tiny_bundle.bundle), "--json"])
    assert json.loads(result.stdout) == tiny_bundle.manifest.model_dump(mode="json")


def test_verify_counts_the_files_of_a_whole_bundle(tiny_bundle: TinyBundle) -> None:
    words = cli.invoke(app, ["bundle", "verify", str(tiny_bundle.bundle)])
    assert words.exit_code == 0, words.output
    assert "3 files" in words.stdout
    document = json.loads(cli.invoke(app, ["bundle", "verify", str(tiny_bundle.bundle), "--json"]).stdout)
    sizes = [path.stat().st_size for path in tiny_bundle.bundle.rglob("*") if path.suffix in {".onnx", ".safetensors"}]
    assert document == {
        "fingerprint": tiny_bundle.manifest.fingerprint,
        "files": 3,
        "size_bytes": sum(sizes),
        "ok": True,
    }


def test_verify_names_a_file_of_which_one_byte_was_altered(copy: Path) -> None:
    weights = bytearray((copy / "mixer.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "mixer.safetensors").write_bytes(weights)
    words = cli.invoke(app, ["bundle", "verify", str(copy)])
    assert words.exit_code == 1
    assert "mixer.safetensors" in words.stderr
    problem = cli.invoke(app, ["bundle", "verify", str(copy), "--json"])
    assert problem.exit_code == 1
    assert json.loads(problem.stdout)["item"] == "mixer.safetensors"


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_directory_without_a_bundle_is_named(command: str, tmp_path: Path) -> None:
    result = cli.invoke(app, ["bundle", command, str(tmp_path)])
    assert result.exit_code == 1
    assert "no readable bundle.json" in result.stderr


def test_the_command_that_verify_names_repairs_the_bundle(tiny_bundle: TinyBundle, copy: Path) -> None:
    lost = copy / "extractors" / "compact_cnn.safetensors"
    lost.unlink()
    problem = json.loads(cli.invoke(app, ["bundle", "verify", str(copy), "--json"]).stdout)
    command = re.search(r"aff (bundle repair .+) --from FOLDER", problem["detail"])[1]
    mended = cli.invoke(app, [*shlex.split(command), "--from", str(tiny_bundle.bundle), "--json"])
    assert json.loads(mended.stdout) == {"repaired": ["extractors/compact_cnn.safetensors"]}
    assert cli.invoke(app, ["bundle", "verify", str(copy)]).exit_code == 0


def test_a_repair_without_copies_fails_by_name(copy: Path, tmp_path: Path) -> None:
    (copy / "mixer.safetensors").unlink()
    (tmp_path / "empty").mkdir()
    result = cli.invoke(app, ["bundle", "repair", str(copy), "--from", str(tmp_path / "empty")])
    assert result.exit_code == 1
    assert "mixer.safetensors" in result.stderr


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Two queries, three gallery images and a distractor."""
    folder = write_photographs(tmp_path / "photographs", instances=3, views=2, labelled=True)
    roles = {(500, 0): "query", (501, 0): "query", (502, 0): "distractor"}
    rows = [
        f"{folder}/{instance}/{view}.png,{instance},{roles.get((instance, view), 'gallery')}"
        for instance in (500, 501, 502)
        for view in range(2)
    ]
    path = tmp_path / "labelled.csv"
    path.write_text("path,instance,role\n" + "\n".join(rows), encoding="utf-8")
    return path


def test_calibrate_writes_the_levels_of_the_scores_and_nothing_else(
    copy: Path, tiny_bundle: TinyBundle, labelled: Path
) -> None:
    words = cli.invoke(app, ["bundle", "calibrate", str(copy), str(labelled)])
    assert words.exit_code == 0, words.output
    manifest = load_manifest(copy)
    verify_files(copy, manifest)
    levels = manifest.score_levels
    assert levels is not None
    assert (levels.queries, levels.gallery) == (2, 4)
    assert "labelled.csv" in levels.protocol
    assert levels.likely is None or -1 <= levels.likely <= 1
    assert manifest.model_copy(update={"score_levels": None}) == tiny_bundle.manifest
    again = cli.invoke(app, ["bundle", "calibrate", str(copy), str(labelled), "--json"])
    assert json.loads(again.stdout) == levels.model_dump()


def test_calibrate_without_a_match_in_the_gallery_leaves_the_bundle_as_it_is(copy: Path, labelled: Path) -> None:
    before = (copy / "bundle.json").read_bytes()
    lonely = [line for line in labelled.read_text().splitlines() if not line.endswith(("500,gallery", "501,gallery"))]
    labelled.write_text("\n".join(lonely), encoding="utf-8")
    result = cli.invoke(app, ["bundle", "calibrate", str(copy), str(labelled), "--json"])
    assert result.exit_code == 1
    assert "no query has a positive" in result.stdout
    assert (copy / "bundle.json").read_bytes() == before
