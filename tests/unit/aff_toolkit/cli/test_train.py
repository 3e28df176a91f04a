"""`aff train`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.cli.main import app
from tests.support.plain_photograph import plain_png
from tests.support.tiny_recipe import TINY_RECIPE_TOML
from tests.support.tiny_training import TinyTraining

cli = CliRunner()


def stages(log: Path) -> list[str]:
    """Return the stage of each epoch in a log."""
    if not log.exists():
        return []
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return [line["stage"] for line in lines if line["kind"] == "epoch"]


PRETRAINING = ["pretraining_compact_cnn"] * 2 + ["pretraining_query_encoder"]
JOINT = ["joint"] * 30


def train_again(tiny_training: TinyTraining, directory: Path, recipe: str) -> tuple[Result, Path]:
    """Run `aff train` on a copy of the finished training's work directory; the log starts empty."""
    work = shutil.copytree(tiny_training.work, directory / "work")
    (work / "log.jsonl").unlink()
    (directory / "recipe.toml").write_text(recipe, encoding="utf-8")
    command = ["train", str(directory / "recipe.toml"), "--out", str(directory / "bundle"), "--work-dir", str(work)]
    return cli.invoke(app, command), work


@pytest.mark.slow
def test_a_second_run_takes_everything_from_the_work_directory(tiny_training: TinyTraining, tmp_path: Path) -> None:
    assert stages(tiny_training.work / "log.jsonl") == PRETRAINING + JOINT
    result, work = train_again(tiny_training, tmp_path, TINY_RECIPE_TOML)
    assert result.exit_code == 0, result.output
    assert "aff serve --bundle" in result.stdout
    assert stages(work / "log.jsonl") == []
    assert load_manifest(tmp_path / "bundle").space == tiny_training.manifest.space


@pytest.mark.slow
def test_extra_photographs_are_trained_on_and_measured_on_and_their_licence_is_noted(tmp_path: Path) -> None:
    for name in ("photo.png", "other.png"):
        (tmp_path / name).write_bytes(plain_png((9, 99, 9)))
    shown = ["pear,train", "pear,train", "fig,train", "apple,query"]
    rows = "".join(f"photo.png,{instance}\n" for instance in shown) + "other.png,apple,gallery\n"
    (tmp_path / "fruit.csv").write_text("path,instance,role\n" + rows, encoding="utf-8")
    csv = f'photographs = {{ kind = "csv", path = "{tmp_path / "fruit.csv"}" }}\nlicence = "Fruit, CC0"'
    recipe = TINY_RECIPE_TOML.replace("epochs = 30", "epochs = 2").replace(
        "[evaluation.scenes]",
        f'[[joint.sources]]\n{csv}\n[evaluation]\nopen_sets = ["{tmp_path / "fruit.csv"}"]\n[evaluation.scenes]',
    )
    (tmp_path / "recipe.toml").write_text(recipe, encoding="utf-8")
    out, work = str(tmp_path / "bundle"), tmp_path / "work"
    result = cli.invoke(app, ["train", str(tmp_path / "recipe.toml"), "--out", out, "--work-dir", str(work)])
    assert result.exit_code == 0, result.output
    assert stages(work / "log.jsonl") == [*PRETRAINING, "joint", "joint"]
    assert "left out, fewer than two readable photographs (1): 1/fig" in result.stderr
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert set(manifest.metrics) == {"scenes", "open_set", "export"}
    assert manifest.licences[1] == "training photographs: Fruit, CC0"


def test_other_settings_do_not_take_up_the_checkpoints(tiny_training: TinyTraining, tmp_path: Path) -> None:
    result, _ = train_again(tiny_training, tmp_path, TINY_RECIPE_TOML.replace("alpha = 0.99", "alpha = 0.5"))
    assert result.exit_code == 1
    assert "Checkpoint of another configuration" in result.stderr
    assert "Use another work directory" in result.stderr


def test_a_loss_that_is_not_a_number_stops_the_training_with_its_step(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    work = shutil.copytree(tiny_training.work, tmp_path / "work")
    shutil.rmtree(work / "checkpoints" / "joint")
    head, _, joint = TINY_RECIPE_TOML.partition("[joint]")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        head + "[joint]" + joint.replace("learning_rate = 2e-3", "learning_rate = 1e30"), encoding="utf-8"
    )
    words = [str(recipe), "--out", str(tmp_path / "bundle"), "--work-dir", str(work), "--json"]
    result = cli.invoke(app, ["train", *words])
    assert result.exit_code == 1
    problem = json.loads(result.stdout)
    assert problem["code"] == "training_diverged"
    assert "Lower the learning rate" in problem["detail"]


def test_a_mixer_that_cannot_take_its_features_is_an_invalid_recipe(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    result, _ = train_again(tiny_training, tmp_path, TINY_RECIPE_TOML.replace("heads = 2", "heads = 3"))
    assert result.exit_code == 1
    assert "Invalid training recipe: mixer: " in result.stderr
    assert "3 heads do not divide 16 channels" in result.stderr


def test_a_recipe_that_cannot_be_used_is_reported_as_text_or_as_a_problem(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("speed = 3", encoding="utf-8")
    words = cli.invoke(app, ["train", str(recipe), "--out", str(tmp_path / "bundle")])
    assert words.exit_code == 1
    assert "Invalid training recipe" in words.stderr
    problem = cli.invoke(app, ["train", str(recipe), "--out", str(tmp_path / "bundle"), "--json"])
    assert json.loads(problem.stdout)["code"] == "recipe_invalid"
    assert not (tmp_path / "bundle").exists()


def test_of_several_processes_one_prints_the_problem_and_the_others_print_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", str(tmp_path / "none.toml"), "--out", str(tmp_path / "bundle"), "--json"]
    monkeypatch.setenv("RANK", "1")
    other = cli.invoke(app, command)
    assert (other.exit_code, other.stdout) == (1, "")
    assert "Invalid training recipe" in other.stderr
    monkeypatch.setenv("RANK", "0")
    assert json.loads(cli.invoke(app, command).stdout)["code"] == "recipe_invalid"
