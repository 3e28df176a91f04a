"""What a work directory remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.accelerator import Accelerator
from rich.console import Console

from aff_toolkit.training.engine.training_log import TrainingLog
from aff_toolkit.training.stages.work_directory import WorkDirectory


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
