"""What a training writes down."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

from rich.console import Console

from aff_toolkit.training.progress import TrainingProgress


def test_every_epoch_is_a_line_of_json_and_a_line_on_the_screen(tmp_path: Path) -> None:
    screen = StringIO()
    progress = TrainingProgress(tmp_path / "log.jsonl", Console(file=screen))
    for name in ("first", "second"):
        with progress.stage(name, 2) as stage:
            stage.advance()
            stage.epoch(1, {"loss": 0.5})
            stage.advance()
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"stage": "first", "epoch": 1, "loss": 0.5},
        {"stage": "second", "epoch": 1, "loss": 0.5},
    ]
    assert "first, epoch 1: loss 0.500" in screen.getvalue()
    assert "2/2" in screen.getvalue()
