"""`aff train` on two processes, which torch's launcher starts as `accelerate launch` does on several GPUs.

One launch trains everything: a process takes longer to import torch than to train.
"""

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
from tests.support.train_shared_pair import STEPS, train_cases, write_store

ROOT = Path(__file__).parents[2]
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
LOSSES = ["discriminative", "arcface", "reg"]


@dataclass(frozen=True, slots=True)
class Trainings:
    """Results of the cases of train_shared_pair.py by two processes and by one, and of `aff train` by two.

    Attributes:
        two: Directory of the cases of two processes.
        one: Directory of the cases of one process.
        bundle: Directory of the bundle of `aff train`.
        work: Its work directory.
        printed: What it printed.
    """

    two: Path
    one: Path
    bundle: Path
    work: Path
    printed: str


@pytest.fixture(scope="module")
def trainings(tmp_path_factory: pytest.TempPathFactory) -> Trainings:
    directory = tmp_path_factory.mktemp("trainings")
    store, two, one, bundle, work = (directory / name for name in ("store", "two", "one", "bundle", "work"))
    write_store(store)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
        train_cases(store, one, ["accumulated", "whole-without-dropout"])
    recipe = directory / "recipe.toml"
    recipe.write_text(TINY_RECIPE_TOML.replace("epochs = 30", "epochs = 2"), encoding="utf-8")
    cases = ["-m", "tests.support.train_shared_pair", store, two, "shared,shared-without-dropout"]
    train = ["train", recipe, "--out", bundle, "--work-dir", work, "--json"]
    done = subprocess.run(
        [sys.executable, *LAUNCH, *map(str, cases + train)],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"ACCELERATE_USE_CPU": "true"},
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return Trainings(two, one, bundle, work, done.stdout)


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
def test_two_processes_write_one_bundle_and_report_it_once(trainings: Trainings) -> None:
    manifest = load_manifest(trainings.bundle)
    verify_files(trainings.bundle, manifest)
    assert json.loads(trainings.printed)["fingerprint"] == manifest.fingerprint
    states = list((trainings.work / "checkpoints" / "joint").glob("step-*/state.json"))
    assert [json.loads(state.read_text())["configuration"]["processes"] for state in states] == [2]
