"""`aff train` on two processes, which torch's launcher starts as `accelerate launch` does on several cards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aff_contracts.bundle import load_manifest, verify_files
from tests.support.tiny_recipe import TINY_RECIPE_TOML


@pytest.mark.slow
def test_two_processes_write_one_bundle_and_tell_of_it_once(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE_TOML.replace("epochs = 30", "epochs = 2"), encoding="utf-8")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = ["-m", "aff_toolkit", "train", str(recipe), "--out", str(tmp_path / "bundle"), "--json"]
    done = subprocess.run(
        [*launch, *command, "--work-dir", str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
    )
    assert done.returncode == 0, done.stderr
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert json.loads(done.stdout)["fingerprint"] == manifest.fingerprint
    states = list((tmp_path / "work" / "checkpoints" / "joint").glob("step-*/state.json"))
    assert [json.loads(state.read_text())["configuration"]["processes"] for state in states] == [2]
