"""`aff bench`: short measurements, without any requirement on speed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from tests.support.tiny_bundle import TinyBundle

cli = CliRunner()


def run(*words: str) -> dict[str, float]:
    result = cli.invoke(app, ["bench", *words, "--json"])
    assert result.exit_code == 0, result.output
    document: dict[str, float] = json.loads(result.stdout)
    return document


@pytest.mark.slow
def test_a_training_step_is_compared_with_the_query_network_alone(tiny_bundle: TinyBundle) -> None:
    small = ["--train-size", "32", "--steps", "2", "--rounds", "1", "--query-backbone", "residual-8"]
    found = run("train", "--bundle", str(tiny_bundle.bundle), *small)
    assert found["step_over_bare"] == pytest.approx(found["images_per_s"] / found["bare_images_per_s"])
    assert found["tokens"] == 1 + 16 + 32


def test_an_extraction_is_compared_with_the_extractors_alone(tiny_bundle: TinyBundle) -> None:
    found = run("features", "--bundle", str(tiny_bundle.bundle), "--images", "8", "--rounds", "1")
    assert found["extraction_over_bare"] == pytest.approx(found["images_per_s"] / found["bare_images_per_s"])
    assert found["images"] == 8


@pytest.mark.slow
def test_indexing_is_compared_with_the_extractors_alone_and_its_memory_is_shown(tiny_bundle: TinyBundle) -> None:
    small = ["--images", "8", "--rounds", "1", "--gallery-size", "40"]
    found: dict[str, Any] = run("index", "--bundle", str(tiny_bundle.bundle), *small)
    assert found["throughput_over_bare"] == pytest.approx(found["images_per_s"] / found["bare_images_per_s"])
    assert 0 < found["attainable_over_bare"] <= 1
    assert 50 < found["peak_anonymous_mb"]["40"] < found["peak_memory_mb"]["40"]


def test_remixing_is_compared_with_extracting_again(tiny_bundle: TinyBundle) -> None:
    found = run("remix", "--bundle", str(tiny_bundle.bundle), "--images", "8", "--rounds", "1")
    assert found["speedup"] == pytest.approx(found["images_per_s"] / found["again_images_per_s"])
    assert found["bytes_per_image"] > 0


@pytest.mark.slow
def test_a_search_is_compared_with_its_floor_under_load_and_as_the_gallery_grows(tiny_bundle: TinyBundle) -> None:
    small = ["--gallery-size", "50", "--searches", "8", "--rounds", "1", "--seconds", "0.2", "--growth", "1500"]
    found: dict[str, Any] = run("query", "--bundle", str(tiny_bundle.bundle), *small)
    assert found["p50_over_floor"] == pytest.approx(found["p50_ms"] / found["floor_p50_ms"])
    assert found["throughput_over_floor"] == pytest.approx(found["per_s"] / found["floor_per_s"])
    assert [point["load"] for point in found["overload"]] == [0.5, 0.7, 1.0, 2.0, 4.0]
    assert 20 < found["resident_anonymous_mb"] < found["resident_mb"] + 1
    assert [(point["images"], point["quantization"]) for point in found["growth"]] == [
        (1500, "none"),
        (1500, "int8"),
        (1500, "turbo4"),
    ]
    # Too few images for a graph, so the search is exact; four bits per number are not.
    assert [point["recall_at_10"] for point in found["growth"][:2]] == [1, 1]
    assert 0.9 < found["growth"][2]["recall_at_10"] <= 1
    assert all(0 < point["resident_anonymous_mb"] < point["resident_mb"] for point in found["growth"])


def test_an_unknown_backbone_is_rejected() -> None:
    result = cli.invoke(app, ["bench", "train", "--query-backbone", "vgg", "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "parameter_invalid"
