"""What an ablation trains and is measured on."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from aff_toolkit.ablation.ablation_config import load_ablation_config
from aff_toolkit.ablation.materials import make_materials
from aff_toolkit.evaluation.evaluation_errors import BenchmarkError
from aff_toolkit.training.training_log import TrainingLog
from tests.support.tiny_ablation import TINY_ABLATION_TOML


def test_a_file_that_lists_positives_or_junk_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    rows = "path,instance,role,junk\nq.png,x,query,b.png\na.png,x,gallery,\nb.png,x,gallery,\n"
    (tmp_path / "list.csv").write_text(rows, encoding="utf-8")
    scenes = TINY_ABLATION_TOML.splitlines()[-1]
    path = tmp_path / "ablation.toml"
    path.write_text(TINY_ABLATION_TOML.replace(scenes, f"open_sets = ['{tmp_path / 'list.csv'}']"), encoding="utf-8")
    config = load_ablation_config(str(path))
    with pytest.raises(BenchmarkError, match="lists positives or junk") as caught:
        make_materials(config, tmp_path / "work", TrainingLog(tmp_path / "log", Console(quiet=True)))
    assert caught.value.item == "toy"
