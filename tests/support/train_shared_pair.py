"""Joint trainings of a small pair, by one process or by the several of a launcher.

Called as `python -m tests.support.train_shared_pair STORE OUT CASE,CASE ARGUMENT ...`; every process writes what it
ends with to OUT/CASE/process-N.safetensors, and the main one the losses of each step to OUT/CASE/log.jsonl. Then `aff`
is called with the arguments.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate.accelerator import Accelerator
from rich.console import Console
from safetensors.torch import save_file
from torch import nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec, MixerSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.cli.main import app
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.optimisation import OptimisationSection, average_running_statistics
from aff_toolkit.training.engine.training_set import TrainingSet
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.stages.joint_training import train_pair
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.mixers.build_mixer import build_mixer
from gallery_indexer.features.networks.resnet import ResidualNetwork
from tests.support.tiny_training import tiny_recipe

# One step of 16 photographs an epoch, so that the log has every step; 4 photographs are left over each time.
PHOTOGRAPHS, STEPS, SIDE = 20, 12, 40
SPEC = ExtractorSpec(
    name="plain",
    family="plain",
    preprocessing=Preprocessing(resize="stretch", size=SIDE),
    features=(
        FeatureSpec(name="whole", kind="global", dimension=6, max_tokens=1),
        FeatureSpec(name="parts", kind="local", dimension=4, max_tokens=3),
    ),
    weights_source="none",
)


@dataclass(frozen=True, slots=True)
class Case:
    """The batch size of a process."""

    batch_size: int
    accumulation: int
    dropout: float


CASES = {
    "shared": Case(batch_size=8, accumulation=1, dropout=0.1),
    "accumulated": Case(batch_size=8, accumulation=2, dropout=0.1),
    "shared-without-dropout": Case(batch_size=8, accumulation=1, dropout=0.0),
    "whole-without-dropout": Case(batch_size=16, accumulation=1, dropout=0.0),
}


def write_store(directory: Path) -> None:
    """Write features that distinguish the instances a little, with noise."""
    noise = torch.Generator().manual_seed(5)

    def photograph(row: int) -> Photograph:
        pixels = np.random.default_rng(row).integers(0, 40 + 40 * (row % 4), (SIDE, SIDE, 3), dtype=np.uint8)
        return Photograph(f"{row}", f"{row % 4}", lambda: pixels)

    def extract(images: Images) -> dict[str, FeatureBatch]:
        means = torch.tensor([image.mean() for image in images])[:, None]
        whole = torch.sin(means * torch.arange(1, 7) / 40) + 0.3 * torch.randn(len(images), 6, generator=noise)
        parts = torch.randn(len(images), 3, 4, generator=noise) + means[..., None] / 40
        mask = torch.arange(3)[None] < torch.arange(len(images))[:, None] % 4
        return {"whole": FeatureBatch.from_global(whole), "parts": FeatureBatch(parts, mask)}

    photographs = [photograph(row) for row in range(PHOTOGRAPHS)]
    extract_features(
        photographs, ExtractorSet((SPEC,)), extract, directory, StoreSettings(pixel_size=SIDE), lambda _: None
    )


def train(store: FeatureStore, case: Case, directory: Path) -> dict[str, torch.Tensor]:
    """Train by the paper's optimiser; return every weight and statistic by its name."""
    recipe = tiny_recipe()
    optimisation = OptimisationSection(
        epochs=STEPS,
        batch_size=case.batch_size,
        accumulation=case.accumulation,
        optimiser="sgd",
        learning_rate=0.05,
        max_gradient_norm=1.0,
    )
    recipe = recipe.model_copy(update={"joint": recipe.joint.model_copy(update={"optimisation": optimisation})})
    torch.manual_seed(3)
    spec = MixerSpec(weights="none", layers=1, heads=2, mlp_ratio=2.0, dropout=case.dropout)
    pair = train_pair(
        TrainingSet(store, [feature.name for feature in store.features]),
        build_mixer(store.features, spec, recipe.dimension),
        QueryEncoder(ResidualNetwork(8, recipe.dimension)),
        recipe,
        directory=None,
        configuration={},
        log=TrainingLog(directory, Console(quiet=True)),
    )
    modules = {"mixer": pair.mixer.state_dict(), "query_encoder": pair.query_encoder.state_dict()}
    weights = {f"{name}.{key}": value for name, state in modules.items() for key, value in state.items()}
    return weights | {"prototypes": pair.prototypes.contiguous()}


def averaged_statistics(process: int) -> dict[str, torch.Tensor]:
    """Return the statistics of a layer that learns and of one that does not, of 1 in process 0 and 3 in process 1."""
    layers = nn.ModuleDict({"learns": nn.BatchNorm1d(2), "rests": nn.BatchNorm1d(2).eval()})
    for layer in layers.values():
        layer.running_mean.fill_(2.0 * process + 1.0)
        layer.running_var.fill_(4.0 * process + 2.0)
    average_running_statistics(layers, Accelerator())
    return {key: value for key, value in layers.state_dict().items() if "running" in key}


def train_cases(store: Path, out: Path, names: list[str]) -> None:
    """Train the cases with one thread and write the results of this process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in names:
        (out / name).mkdir(parents=True, exist_ok=True)
        save_file(train(FeatureStore.open(store), CASES[name], out / name), out / name / file_name())
    torch.set_num_threads(threads)


def file_name() -> str:
    """Name of the results of this process."""
    return f"process-{os.environ.get('RANK', '0')}.safetensors"


def main(store: Path, out: Path, names: list[str], arguments: list[str]) -> None:
    torch.set_num_threads(1)
    train_cases(store, out, names)
    (out / "averaged").mkdir(exist_ok=True)
    save_file(averaged_statistics(int(os.environ["RANK"])), out / "averaged" / file_name())
    app(arguments, standalone_mode=False)
    Accelerator().end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3].split(","), sys.argv[4:])
