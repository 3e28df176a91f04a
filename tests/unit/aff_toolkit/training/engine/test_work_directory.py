"""Files and output of a training."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from accelerate.accelerator import Accelerator
from rich.console import Console

from aff_toolkit.training.engine.work_directory import LOG_NAME, TrainingLog, WorkDirectory
from tests.support.full_disk import no_file_beyond


def lines(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (directory / LOG_NAME).read_text(encoding="utf-8").splitlines()]


def test_every_figure_is_a_line_of_json_and_epochs_are_shown(tmp_path: Path) -> None:
    screen = StringIO()
    with TrainingLog(tmp_path, Console(file=screen, width=200)).stage("first", 2, "images") as stage:
        stage.resume(0, 2)
        stage.advance(items=32)
        stage.write("step", 1, {"loss": 0.7})
        stage.advance(items=32)
        stage.write("epoch", 2, {"loss": 0.5})
    assert lines(tmp_path) == [
        {"stage": "first", "kind": "step", "step": 1, "loss": 0.7},
        {"stage": "first", "kind": "epoch", "step": 2, "loss": 0.5},
    ]
    assert "first, epoch at step 2: loss 0.500" in screen.getvalue()
    assert "2/2" in screen.getvalue()
    assert list((tmp_path / "tensorboard" / "first").glob("events.*"))


def test_a_second_bar_runs_over_all_stages_by_the_time_that_each_is_expected_to_take(tmp_path: Path) -> None:
    screen = StringIO()
    log = TrainingLog(tmp_path, Console(file=screen, width=200))
    log.expect({"first": 60.0, "second": 40.0})
    for name, expected in (("first", "30/100"), ("second", "80/100")):
        screen.truncate(0)
        with log.stage(name, 4, "images") as stage:
            stage.advance(2)
        assert "all stages" in screen.getvalue()
        assert expected in screen.getvalue()
    screen.truncate(0)
    with log.stage("another", 4, "images") as stage:
        stage.advance(2)
    assert "all stages" not in screen.getvalue()


def test_a_full_disk_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, Console(quiet=True))
    with log.stage("first", 9, "images") as stage:
        for step in range(30):
            stage.write("step", step, {})
    before = (tmp_path / LOG_NAME).read_text(encoding="utf-8")
    with (
        log.stage("second", 9, "images") as stage,
        no_file_beyond(len(before) // 2),
        pytest.raises(OSError, match="too large"),
    ):
        stage.resume(0, 9)
    assert (tmp_path / LOG_NAME).read_text(encoding="utf-8") == before


def test_what_is_beyond_the_checkpoint_is_taken_back_for_this_stage_alone(tmp_path: Path) -> None:
    log = TrainingLog(tmp_path, Console(quiet=True))
    for name in ("first", "second"):
        with log.stage(name, 9, "images") as stage:
            for step in (1, 2, 3):
                stage.write("step", step, {})
    with (tmp_path / LOG_NAME).open("a", encoding="utf-8") as stream:
        stream.write('{"stage": "second", "ki')
    with log.stage("second", 9, "images") as stage:
        stage.resume(1, 9)
    assert [(line["stage"], line["step"]) for line in lines(tmp_path)] == [
        ("first", 1),
        ("first", 2),
        ("first", 3),
        ("second", 1),
    ]


def work_directory(path: Path) -> WorkDirectory:
    return WorkDirectory(path, TrainingLog(path, Console(quiet=True)), Accelerator())


def test_a_result_is_made_once_for_its_key(tmp_path: Path) -> None:
    made: list[int] = []

    def make() -> list[int]:
        made.append(len(made))
        return list(made)

    keys = ["a", "a", "b", "b", "a"]
    assert [work_directory(tmp_path).remember("groups", key, make) for key in keys] == [
        [0],
        [0],
        [0, 1],
        [0, 1],
        [0, 1, 2],
    ]


@pytest.mark.parametrize("text", ["", '{"key": "a", "con', '{"key": "a"}', "[]"])
def test_a_damaged_result_is_made_again(tmp_path: Path, text: str) -> None:
    (tmp_path / "groups.json").write_text(text, encoding="utf-8")
    assert work_directory(tmp_path).remember("groups", "a", lambda: [7]) == [7]
    assert work_directory(tmp_path).remember("groups", "a", list) == [7]
