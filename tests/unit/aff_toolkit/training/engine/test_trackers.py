"""Trackers of a training: what Weights & Biases receives, and what is missing without it."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from accelerate.accelerator import Accelerator
from rich.console import Console

from aff_shared.errors import InvalidParameterError, MissingExtraError
from aff_toolkit.errors import TrackerError
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.recipe import TrainingRecipe
from tests.support.tiny_training import tiny_recipe


class Run:
    """A run of the stand-in; `finish` is part of its interface."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs of a stand-in for the package, in the order of their starts."""
    started: list[Run] = []
    wandb: Any = ModuleType("wandb")
    wandb.__spec__ = ModuleSpec("wandb", None)
    wandb.Settings = lambda: type("Settings", (), {"project": None})

    def init(**settings: Any) -> Run:
        started.append(Run(**settings))
        return started[-1]

    wandb.init = init
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    return started


def train(directory: Path, *trackers: str, first: int = 0, console: Console | None = None) -> None:
    Accelerator()  # as in a training: accelerate's trackers need its state
    log = TrainingLog(directory, console or Console(quiet=True), trackers, {"seed": 7})
    with log.stage("joint", None, "images") as stage:
        stage.resume(first, 9)
        stage.write("step", first + 1, {"loss": 0.7})
        stage.write("epoch", first + 2, {"loss": 0.5})


def test_a_stage_is_a_run_that_a_resumed_training_continues(tmp_path: Path, runs: list[Run]) -> None:
    train(tmp_path / "own", "tensorboard", "wandb")
    train(tmp_path / "own", "wandb", first=2)
    train(tmp_path / "other", "wandb")
    first, resumed, other = runs
    assert first.logged == [(1, {"step/loss": 0.7}), (2, {"epoch/loss": 0.5})]
    assert resumed.logged == [(3, {"step/loss": 0.7}), (4, {"epoch/loss": 0.5})]
    assert first.finished
    assert first.settings.pop("id") == resumed.settings["id"] != other.settings["id"]
    assert first.settings == {
        "project": "aff",
        "name": "own/joint",
        "group": "own",
        "dir": str(tmp_path / "own"),
        "resume": "allow",
        "config": {"seed": 7},
    }
    assert list((tmp_path / "own" / "tensorboard" / "joint").glob("events.*"))
    assert not (tmp_path / "other" / "tensorboard").exists()


def test_a_run_that_cannot_be_started_is_reported_with_the_offline_mode(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def reject(**_: Any) -> Run:
        raise RuntimeError("api_key not configured")

    monkeypatch.setattr(sys.modules["wandb"], "init", reject)
    with pytest.raises(TrackerError, match=r"api_key not configured.*WANDB_MODE=offline"):
        train(tmp_path, "wandb")
    assert not runs


@pytest.mark.parametrize("failing", ["log", "finish"])
def test_a_training_goes_on_without_a_tracker_that_fails(
    tmp_path: Path, runs: list[Run], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    calls = []

    def fail(*_: Any, **__: Any) -> None:
        calls.append(failing)
        raise ConnectionResetError("its process ended")

    monkeypatch.setattr(Run, failing, fail)
    console = Console(record=True, quiet=False, file=StringIO(), width=200)
    train(tmp_path, "wandb", console=console)
    assert len(runs) == len(calls) == 1
    assert "wandb records no further figures: its process ended" in console.export_text()
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2


def test_an_empty_file_of_a_run_is_replaced(tmp_path: Path, runs: list[Run]) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "joint.id").write_text("")
    train(tmp_path, "wandb")
    assert runs[0].settings["id"] == (tmp_path / "wandb" / "joint.id").read_text() != ""


def test_without_the_package_the_training_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'aff-toolkit\[wandb\]'"):
        TrainingLog(tmp_path, Console(quiet=True), ("wandb",))
    assert not list(tmp_path.iterdir())


def test_an_unknown_tracker_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameterError, match="'film' is not one of tensorboard, wandb"):
        TrainingLog(tmp_path, Console(quiet=True), ("film",))


def test_a_recipe_names_trackers_and_the_manifest_does_not() -> None:
    recipe = tiny_recipe()
    assert recipe.trackers == ("tensorboard",)
    tracked = TrainingRecipe.model_validate(recipe.model_dump() | {"trackers": ["wandb"]})
    assert tracked.trackers == ("wandb",)
    assert tracked.model_dump() == recipe.model_dump()


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs wandb")
@pytest.mark.slow
def test_the_package_itself_records_on_this_machine_in_offline_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    train(tmp_path, "wandb")
    train(tmp_path, "wandb", first=2)
    identity = (tmp_path / "wandb" / "joint.id").read_text()
    recorded = list((tmp_path / "wandb").glob(f"offline-run-*-{identity}/run-{identity}.wandb"))
    assert recorded
    assert all(b"step/loss" in path.read_bytes() for path in recorded)
