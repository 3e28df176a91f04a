"""`aff train` on two processes, which torch's launcher starts as `accelerate launch` does on several GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.training.engine.work_directory import LOG_NAME
from tests.support.tiny_recipe import TINY_RECIPE_TOML
from tests.support.train_shared_pair import STEPS, write_store

ROOT = Path(__file__).parents[2]
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
ENVIRONMENT = os.environ | {"ACCELERATE_USE_CPU": "true"}
TRAIN_PAIR = ["-m", "tests.support.train_shared_pair"]
LOSSES = ["discriminative", "arcface", "reg"]


@dataclass(frozen=True, slots=True)
class Trainings:
    """Results of two processes and of one, for each case of train_shared_pair.py."""

    two: Path
    one: Path


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    directory = tmp_path_factory.mktemp("trainings")
    made, store = Trainings(directory / "two", directory / "one"), str(directory / "store")
    write_store(Path(store))
    commands = [
        [*LAUNCH, *TRAIN_PAIR, store, str(made.two), "shared", "shared-without-dropout"],
        [*TRAIN_PAIR, store, str(made.one), "accumulated", "whole-without-dropout"],
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
            env=ENVIRONMENT,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr
    return made


def weights(directory: Path, process: int = 0) -> dict[str, Tensor]:
    return load_file(directory / f"process-{process}.safetensors")


def losses(directory: Path, names: list[str]) -> Tensor:
    """Return the losses of each step (S, L)."""
    lines = [json.loads(line) for line in (directory / LOG_NAME).read_text(encoding="utf-8").splitlines()]
    return torch.tensor([[line[name] for name in names] for line in lines if line["kind"] == "epoch"])


def is_running(key: str) -> bool:
    """Return whether this is a statistic of a batch normalisation, which is not learned."""
    return key.rsplit(".", 1)[-1] in {"running_mean", "running_var", "num_batches_tracked"}


@pytest.mark.slow
def test_two_processes_take_the_steps_of_one_that_accumulates_two_batches(trainings: Trainings) -> None:
    two, one = trainings.two / "shared", trainings.one / "accumulated"
    assert losses(two, LOSSES).shape == (STEPS, 3)
    torch.testing.assert_close(losses(two, LOSSES), losses(one, LOSSES), rtol=1e-5, atol=0)
    learned = {key: value for key, value in weights(two).items() if not is_running(key)}
    expected = weights(one)
    torch.testing.assert_close(learned, {key: expected[key] for key in learned}, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_gallery_side_of_two_processes_is_that_of_one_with_batches_twice_as_large(trainings: Trainings) -> None:
    two, one = trainings.two / "shared-without-dropout", trainings.one / "whole-without-dropout"
    torch.testing.assert_close(losses(two, ["discriminative"]), losses(one, ["discriminative"]), rtol=1e-5, atol=0)
    gallery = {key: value for key, value in weights(two).items() if not key.startswith("query_encoder")}
    expected = weights(one)
    assert "prototypes" in gallery
    torch.testing.assert_close(gallery, {key: expected[key] for key in gallery}, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_both_processes_end_with_the_same_model(trainings: Trainings) -> None:
    first, second = (weights(trainings.two / "shared", process) for process in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.slow
def test_batch_statistics_of_the_layers_that_learn_are_averaged(trainings: Trainings) -> None:
    for process in (0, 1):
        found = {key: value.tolist() for key, value in weights(trainings.two / "averaged", process).items()}
        assert found == {
            "learns.running_mean": [2.0, 2.0],
            "learns.running_var": [4.0, 4.0],
            "rests.running_mean": [2.0 * process + 1] * 2,
            "rests.running_var": [4.0 * process + 2] * 2,
        }


@pytest.mark.slow
def test_two_processes_write_one_bundle_and_report_it_once(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(TINY_RECIPE_TOML.replace("epochs = 30", "epochs = 2"), encoding="utf-8")
    command = ["-m", "aff_toolkit", "train", str(recipe), "--out", str(tmp_path / "bundle"), "--json"]
    done = subprocess.run(
        [sys.executable, *LAUNCH, *command, "--work-dir", str(tmp_path / "work")],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest)
    assert json.loads(done.stdout)["fingerprint"] == manifest.fingerprint
    states = list((tmp_path / "work" / "checkpoints" / "joint").glob("step-*/state.json"))
    assert [json.loads(state.read_text())["configuration"]["processes"] for state in states] == [2]
