"""Released checkpoints are converted completely, or rejected with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.cli.main import app
from aff_toolkit.errors import (
    CheckpointKeysError,
    ConvertedNotWrittenError,
    UnreadableCheckpointError,
)
from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS
from aff_toolkit.weights.convert_checkpoint import convert_checkpoint
from gallery_indexer.features.extractors.load_extractor import load_extractor
from tests.support.full_disk import no_file_beyond
from tests.support.released_checkpoints import photograph, randomise

CPU = torch.device("cpu")
CHILDREN = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
HOW = CHECKPOINT_FORMATS["how-r18"]


def cut_into_children(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the trunk's weights as a sequence of a ResNet's children does."""
    named = {}
    for name, tensor in state.items():
        if name.startswith("trunk."):
            child, _, rest = name.removeprefix("trunk.").partition(".")
            named[f"features.{CHILDREN[child]}.{rest}"] = tensor
        else:
            named[name] = tensor
    return named


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return cut_into_children(dict(randomise(HOW.network()).state_dict()))


def saved(directory: Path, document: Any) -> Path:
    path = directory / "how_r18.pth"
    torch.save(document, path)
    return path


def test_every_weight_arrives_and_the_specification_makes_the_extractor(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    spec = convert_checkpoint(saved(tmp_path, {"state_dict": state}), HOW, tmp_path / "out")
    assert ExtractorSpec.model_validate_json((tmp_path / "out/how_r18.json").read_bytes()) == spec
    assert spec.weights_source.startswith("how-r18: how_r18.pth, sha256 ")
    found = load_extractor(spec, tmp_path / "out", CPU).extract([photograph(64, 64)])
    assert float(found["how_r18"].strengths[0, 0]) == 1.0  # type: ignore[index]


def test_the_authors_first_release_is_read_too(state: dict[str, Tensor], tmp_path: Path) -> None:
    older = {name.replace("dim_reduction", "whiten"): tensor for name, tensor in state.items()}
    convert_checkpoint(saved(tmp_path, {"state_dict": older, "meta": {"dim": 128}}), HOW, tmp_path)


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "reported"),
    [
        (without("features.0.weight"), "1 missing: trunk.conv1.weight"),
        (lambda state: {**state, "head.weight": torch.zeros(2)}, "1 unknown: head.weight"),
        (
            lambda state: {**state, "dim_reduction.bias": torch.zeros(2)},
            "1 of another shape: dim_reduction.bias (2,) instead of (128,)",
        ),
        (lambda _: {}, "missing: .*, ..."),
    ],
)
def test_weights_that_differ_are_listed(
    state: dict[str, Tensor],
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    reported: str,
    tmp_path: Path,
) -> None:
    path = saved(tmp_path, {"state_dict": change(state)})
    with pytest.raises(CheckpointKeysError) as caught:
        convert_checkpoint(path, HOW, tmp_path / "out")
    assert all(part in caught.value.detail for part in reported.split(".*"))
    assert not (tmp_path / "out").exists()


class Evil:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("run",)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: torch.save({"state_dict": Evil()}, path),
        lambda path: path.write_bytes(b"no checkpoint"),
        lambda path: path.write_bytes(b""),
        lambda _: None,
        lambda path: torch.save([1, 2], path),
    ],
    ids=["code", "text", "nothing", "missing", "no names"],
)
def test_a_file_that_is_not_a_checkpoint_is_rejected_and_its_code_does_not_run(
    write: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.pth"
    write(path)
    with pytest.raises(UnreadableCheckpointError) as caught:
        convert_checkpoint(path, HOW, tmp_path)
    assert caught.value.item == str(path)
    assert "run" not in capsys.readouterr().out


def test_a_directory_that_cannot_be_written_is_reported(state: dict[str, Tensor], tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    path = saved(tmp_path, {"state_dict": state})
    with pytest.raises(ConvertedNotWrittenError):
        convert_checkpoint(path, HOW, tmp_path / "out")
    with no_file_beyond(2**20), pytest.raises(ConvertedNotWrittenError):
        convert_checkpoint(path, HOW, tmp_path / "full")


def test_whitening_that_was_learned_afterwards_becomes_a_linear_map(tmp_path: Path) -> None:
    form = CHECKPOINT_FORMATS["gem-r50-lw"]
    network = cut_into_children(dict(randomise(form.network()).state_dict()))
    network = {name: tensor for name, tensor in network.items() if not name.startswith("whiten.")}
    network["pool.p"] = network.pop("pool.exponent").reshape(1)
    random = np.random.default_rng(0)
    learned = {"P": random.normal(0, 0.1, (2048, 2048)), "m": random.normal(0, 0.1, (2048, 1))}
    meta = {"architecture": "resnet50", "Lw": {"a": {"ms": learned, "ss": {"P": np.eye(2), "m": np.zeros((2, 1))}}}}
    weights = form.weights_of({"state_dict": network, "meta": meta})
    x = random.normal(0, 1, (2048, 1))
    whitened = weights["whiten.weight"].double().numpy() @ x + weights["whiten.bias"].double().numpy()[:, None]
    np.testing.assert_allclose(whitened, learned["P"] @ (x - learned["m"]), atol=1e-4)
    spec = convert_checkpoint(saved(tmp_path, {"state_dict": network, "meta": meta}), form, tmp_path / "out")
    assert spec.config["whiten_each_scale"] is False
    with pytest.raises(CheckpointKeysError, match="no whitening"):
        form.weights_of({"state_dict": network, "meta": {}})


def test_the_command_prints_the_next_command(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = saved(tmp_path, {"state_dict": state})
    cli = CliRunner()
    done = cli.invoke(app, ["checkpoints", "convert", str(path), str(tmp_path / "out"), "--as", "how-r18"])
    assert done.exit_code == 0, done.output
    assert "how_r18.json: specification. Next: set the specification in a recipe" in done.stdout.replace("\n", "")
    as_json = cli.invoke(app, ["checkpoints", "convert", str(path), str(tmp_path), "--as", "how-r18", "--json"])
    assert json.loads(as_json.stdout)["family"] == "how"
    unknown = cli.invoke(app, ["checkpoints", "convert", str(path), str(tmp_path), "--as", "vgg", "--json"])
    assert json.loads(unknown.stdout)["code"] == "foreign_checkpoint_format_unknown"
    listed = cli.invoke(app, ["checkpoints", "list", "--json"])
    assert {form["name"] for form in json.loads(listed.stdout)} == set(CHECKPOINT_FORMATS)
    assert cli.invoke(app, ["checkpoints", "list"]).stdout.startswith(next(iter(CHECKPOINT_FORMATS)))
