"""The joint training as a whole: reproducible, in one stage or in two."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from aff_shared.bundles.bundle import MixerSpec
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.engine.training_set import TrainingSet
from aff_toolkit.training.engine.work_directory import LOG_NAME, TrainingLog
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.stages.export import TrainedPair
from aff_toolkit.training.stages.joint_training import train_pair
from gallery_indexer.features.mixers.build_mixer import build_mixer
from gallery_indexer.features.networks.resnet import ResidualNetwork
from tests.support.tiny_training import TinyTraining, tiny_recipe

MIXER = MixerSpec(weights="none", layers=1, heads=2, mlp_ratio=2.0, dropout=0.1)


def train(work: Path, directory: Path, kind: str = "momentum", alpha: float = 0.99) -> TrainedPair:
    recipe = tiny_recipe()
    update = UpdateRule.model_validate({"kind": kind, "alpha": alpha})
    optimisation = recipe.joint.optimisation.model_copy(update={"epochs": 2})
    joint = recipe.joint.model_copy(update={"update": update, "optimisation": optimisation})
    store = FeatureStore.open(work / "features")
    torch.manual_seed(1)
    mixer = build_mixer(store.features, MIXER, recipe.dimension)
    return train_pair(
        TrainingSet(store, [feature.name for feature in store.features]),
        mixer,
        QueryEncoder(ResidualNetwork(8, recipe.dimension)),
        recipe.model_copy(update={"joint": joint}),
        directory=directory / "checkpoints",
        configuration={},
        log=TrainingLog(directory, Console(quiet=True)),
    )


def epochs(directory: Path) -> list[str]:
    lines = [json.loads(line) for line in (directory / LOG_NAME).read_text(encoding="utf-8").splitlines()]
    return [line["stage"] for line in lines if line["kind"] == "epoch"]


def test_a_seed_trains_the_same_pair_ready_for_use(tiny_training: TinyTraining, tmp_path: Path) -> None:
    first, second = (train(tiny_training.work, tmp_path / name) for name in ("first", "second"))
    for one, other in ((first.mixer, second.mixer), (first.query_encoder, second.query_encoder)):
        assert not one.training
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_two_stages_train_the_mixer_first_and_the_query_encoder_then(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    pair = train(tiny_training.work, tmp_path, kind="two_stage")
    assert epochs(tmp_path) == ["gallery"] * 2 + ["query"] * 2
    assert dict(pair.steps) == {"gallery": (8, 8), "query": (8, 8)}


def test_the_query_encoder_keeps_its_weights_where_only_the_gallery_side_learns(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    both = [train(tiny_training.work, tmp_path / kind, kind=kind) for kind in ("gallery_only", "two_stage")]
    assert epochs(tmp_path / "gallery_only") == ["gallery"] * 2
    torch.testing.assert_close(both[0].mixer.state_dict(), both[1].mixer.state_dict(), rtol=0, atol=0)
    torch.manual_seed(1)
    build_mixer(FeatureStore.open(tiny_training.work / "features").features, MIXER, tiny_recipe().dimension)
    start = QueryEncoder(ResidualNetwork(8, tiny_recipe().dimension)).state_dict()
    torch.testing.assert_close(both[0].query_encoder.state_dict(), start, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["momentum", "two_stage"])
def test_the_mixer_is_the_same_whatever_the_query_side_follows(
    tiny_training: TinyTraining, tmp_path: Path, kind: str
) -> None:
    reference = train(tiny_training.work, tmp_path / "reference", alpha=0.0)
    other = train(tiny_training.work, tmp_path / "other", kind=kind, alpha=0.9)
    torch.testing.assert_close(other.mixer.state_dict(), reference.mixer.state_dict(), rtol=0, atol=0)
    weights = [pair.query_encoder.network.whitening[0].weight for pair in (reference, other)]
    assert not torch.equal(*weights)


def test_a_coupled_training_changes_the_mixer(tiny_training: TinyTraining, tmp_path: Path) -> None:
    reference = train(tiny_training.work, tmp_path / "reference")
    coupled = train(tiny_training.work, tmp_path / "coupled", kind="coupled")
    assert not torch.equal(coupled.mixer.fusion_token, reference.mixer.fusion_token)
