"""`aff features`: what it plans is what it then writes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from aff_toolkit.training.features.feature_store import FeatureStore
from tests.support.hub_datasets import images_table, write_dataset_file
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_bundle import TinyBundle

cli = CliRunner()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"), instances=6, views=5, labelled=True)


def run(*words: str) -> dict[str, object]:
    result = cli.invoke(app, ["features", *words, "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, object] = json.loads(result.stdout)
    return document


@pytest.mark.slow
def test_the_plan_of_all_photographs_is_the_store_to_the_byte(
    photographs: Path, tiny_bundle: TinyBundle, tmp_path: Path
) -> None:
    options = ["--bundle", str(tiny_bundle.bundle), "--copies", "2", "--pixel-size", "32"]
    planned = run("plan", str(photographs), "--out", str(tmp_path / "store"), *options)
    assert not (tmp_path / "store").exists()
    made = run("extract", str(photographs), str(tmp_path / "store"), *options)
    assert planned["size_bytes"] == made["size_bytes"]
    assert (planned["photographs"], planned["shards"], planned["unreadable"]) == (30, 1, 0)
    assert planned["fits"] is True


def test_the_plan_by_a_sample_is_near_the_store(photographs: Path, tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    options = ["--bundle", str(tiny_bundle.bundle), "--pixel-size", "64"]
    planned = run("plan", str(photographs), "--sample", "15", *options)
    made = run("extract", str(photographs), str(tmp_path / "store"), *options)
    assert planned["size_bytes"] == pytest.approx(made["size_bytes"], rel=0.05)


def test_unusable_rows_of_a_data_set_are_reported_and_the_others_extracted(
    photographs: Path, tiny_bundle: TinyBundle, tmp_path: Path
) -> None:
    files = sorted(photographs.rglob("*.png"))[:4]
    images = [*(file.read_bytes() for file in files), b"text"]
    write_dataset_file(tmp_path / "set" / "train-0.parquet", images_table(images, [0, 0, 1, None, 1]), rows_together=2)
    words = ["features", "extract", str(tmp_path / "set"), str(tmp_path / "store"), "--bundle", str(tiny_bundle.bundle)]
    result = cli.invoke(app, words)
    assert result.exit_code == 0, result.output
    for row, problem in ((4, "column label is empty"), (5, "not a JPEG")):
        assert f"not readable: train-0.parquet/{row}: {problem}" in result.stderr
    assert "features of 3 of 5 photographs" in result.output


def test_an_unreadable_photograph_is_reported_and_the_store_is_verified(
    tiny_bundle: TinyBundle, tmp_path: Path
) -> None:
    folder = write_photographs(tmp_path / "photographs", instances=2, views=2, labelled=False)
    (folder / "broken.jpg").write_text("no photograph")
    words = ["features", "extract", str(folder), str(tmp_path / "store"), "--bundle", str(tiny_bundle.bundle)]
    result = cli.invoke(app, words)
    assert result.exit_code == 0
    assert f"{folder}: 5 photographs without labels" in result.stderr
    assert "not readable: broken.jpg" in result.stderr
    assert "features of 4 of 5 photographs" in result.stdout
    assert run("verify", str(tmp_path / "store"))["key"] == FeatureStore.open(tmp_path / "store").key


def test_an_altered_shard_is_reported_with_what_to_do(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    folder = write_photographs(tmp_path / "photographs", instances=2, views=2, labelled=False)
    words = ["extract", str(folder), str(tmp_path / "store"), "--bundle", str(tiny_bundle.bundle)]
    before = run(*words)
    shard = tmp_path / "store" / "shard-00000.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    result = cli.invoke(app, ["features", "verify", str(tmp_path / "store"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "feature_shard_damaged"
    assert "run the extraction again" in json.loads(result.stdout)["detail"]
    assert run(*words) == before
    assert run("verify", str(tmp_path / "store"))["ok"] is True


def test_photographs_that_are_missing_are_reported(tmp_path: Path) -> None:
    result = cli.invoke(app, ["features", "plan", str(tmp_path / "nothing"), "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "photograph_source_invalid"
