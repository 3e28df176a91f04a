"""A training on a full disk: the error names a remedy, and finished steps are kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from click.testing import Result
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.cli.main import app
from aff_toolkit.training.engine.work_directory import LOG_NAME
from tests.support.full_disk import no_file_beyond
from tests.support.tiny_recipe import TINY_RECIPE_TOML
from tests.support.tiny_training import TinyTraining

cli = CliRunner()
LARGEST_BYTES = 6_000


def aff_train(directory: Path) -> Result:
    words = ["--out", str(directory / "bundle"), "--work-dir", str(directory / "work"), "--json"]
    return cli.invoke(app, ["train", str(directory / "recipe.toml"), *words])


def test_a_bundle_that_the_disk_does_not_take_is_written_from_what_is_kept(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    work = shutil.copytree(tiny_training.work, tmp_path / "work")
    (work / LOG_NAME).unlink()
    (tmp_path / "recipe.toml").write_text(TINY_RECIPE_TOML, encoding="utf-8")
    with no_file_beyond(LARGEST_BYTES):
        result = aff_train(tmp_path)
    assert result.exit_code == 1, result.output
    problem = json.loads(result.stdout)
    assert problem["code"] == "training_not_written"
    assert problem["detail"].endswith("Free some space and run it again: finished parts are kept")
    again = aff_train(tmp_path)
    assert again.exit_code == 0, again.output
    assert not (work / LOG_NAME).exists(), "nothing was trained again"
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert manifest.space == tiny_training.manifest.space
