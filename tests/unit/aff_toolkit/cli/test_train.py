"""`aff train`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_contracts.bundle import load_manifest, verify_files
from aff_toolkit.cli.main import app
from tests.support.plain_photograph import plain_png
from tests.support.tiny_recipe import TINY_RECIPE_TOML
from tests.support.tiny_training import TinyTraining

cli = CliRunner()


def stages(log: Path) -> list[str]:
    return [json.loads(line)["stage"] for line in log.read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_a_second_run_takes_the_extractor_from_the_work_directory_and_adds_the_extra_photographs(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    assert stages(tiny_training.work / "log.jsonl") == ["compact_cnn"] * 2 + ["joint"] * 30
    work = shutil.copytree(tiny_training.work, tmp_path / "work")
    (work / "log.jsonl").unlink()
    (tmp_path / "photo.png").write_bytes(plain_png((9, 99, 9)))
    rows = ["photo.png,pear,train", "photo.png,plum,train", "photo.png,apple,query", "photo.png,apple,gallery"]
    (tmp_path / "fruit.csv").write_text("path,instance,role\n" + "\n".join(rows) + "\n", encoding="utf-8")
    extra = f'[extra]\ncsv = "{tmp_path / "fruit.csv"}"\nlicence = "Fruit, CC0"\n'
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE_TOML.replace("[compact_cnn]", f"{extra}\n[compact_cnn]"), encoding="utf-8")

    result = cli.invoke(app, ["train", str(recipe), "--out", str(tmp_path / "bundle"), "--work-dir", str(work)])

    assert result.exit_code == 0, result.output
    assert "aff serve --bundle" in result.stdout
    assert stages(work / "log.jsonl") == ["joint"] * 30
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert set(manifest.metrics) == {"scenes", "open_set"}
    assert manifest.licences[1] == "training photographs: Fruit, CC0"
    weights = [bundle / "extractors/compact_cnn.safetensors" for bundle in (tiny_training.bundle, tmp_path / "bundle")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_recipe_that_cannot_be_used_is_told_in_words_or_as_a_problem(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("speed = 3", encoding="utf-8")
    words = cli.invoke(app, ["train", str(recipe), "--out", str(tmp_path / "bundle")])
    assert words.exit_code == 1
    assert "Invalid training recipe" in words.stderr
    problem = cli.invoke(app, ["train", str(recipe), "--out", str(tmp_path / "bundle"), "--json"])
    assert json.loads(problem.stdout)["code"] == "recipe_invalid"
    assert not (tmp_path / "bundle").exists()
