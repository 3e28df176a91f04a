"""`aff ablate`: a real ablation, too small to find anything."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from aff_benchmarks.ablation.ablation_config import load_ablation_config
from aff_benchmarks.ablation.materials import Materials
from aff_benchmarks.ablation.run_variant import new_query_encoder
from aff_benchmarks.ablation.variant import score_pair
from aff_toolkit.cli.main import app
from aff_toolkit.evaluation.retrieval_scores import score_embeddings
from aff_toolkit.training.features.feature_store import embed_rows
from gallery_indexer.features.mixers.build_mixer import build_mixer
from tests.support.tiny_ablation import TINY_ABLATION_TOML
from tests.support.tiny_training import tiny_mixer_spec

pytestmark = pytest.mark.slow

cli = CliRunner()
VARIANTS = ("full", "arcface_two_stage", "raw_cnn_a_gem")


def ablate(directory: Path, *variants: str) -> None:
    config = directory / "toy.toml"
    config.write_text(TINY_ABLATION_TOML, encoding="utf-8")
    words = [str(config), "--out", str(directory / "report"), "--work-dir", str(directory / "work"), "--processes", "1"]
    chosen = [word for variant in variants for word in ("--only", variant)]
    result = cli.invoke(app, ["ablate", *words, *chosen, "--json"])
    assert result.exit_code == 0, result.output
    assert [report["benchmark"] for report in json.loads(result.stdout)] == ["toy"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("ablation")
    ablate(directory, *VARIANTS)
    return directory


def report_of(directory: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((directory / "report" / "toy.json").read_text())
    return document


def test_the_report_contains_a_verdict_per_finding_and_every_run(directory: Path) -> None:
    report = report_of(directory)
    assert [finding["number"] for finding in report["findings"]] == [1, 2, 3, 4, 5, 6, 7, 8]  # type: ignore[attr-defined,index]
    assert {finding["verdict"] for finding in report["findings"]} == {"inconclusive"}  # type: ignore[attr-defined,index]
    trained = {name for name, variant in report["variants"].items() if variant["seeds"] == [1, 2]}  # type: ignore[attr-defined]
    assert trained == set(VARIANTS)


def test_a_second_run_trains_only_what_is_missing(directory: Path) -> None:
    runs = directory / "work" / "runs"
    (runs / "full-2.json").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    first = report_of(directory)
    ablate(directory, *VARIANTS)
    after = {path.name: path.stat().st_mtime_ns for path in runs.iterdir()}
    assert {name for name in after if before.get(name) != after[name]} == {"full-2.json"}
    again = report_of(directory)
    assert again["variants"]["full"]["map"] == first["variants"]["full"]["map"]  # type: ignore[index]


def test_the_page_and_the_plots_are_written(directory: Path) -> None:
    page = (directory / "report" / "toy.md").read_text()
    assert "| 1 | The fused gallery beats every single-feature gallery, for the same query encoder | **inconc" in page
    assert "\nNot run:\n" in page
    assert "- Decoupling helps other compatibility losses too" in page
    assert "| mlp |" not in page
    with Image.open(directory / "report" / "toy.png") as plot:
        assert np.asarray(plot.convert("L")).std() > 5


def test_scores_equal_those_of_the_evaluation(directory: Path) -> None:
    config = load_ablation_config(str(directory / "toy.toml"))
    materials = Materials.open(config, directory / "work")
    features = tuple(f for f in materials.features if f.name != "noise")
    mixer = build_mixer(features, tiny_mixer_spec(), config.recipe.dimension).eval()
    encoder = new_query_encoder(materials, 3).eval()
    benchmark = materials.benchmarks[0]
    names = [feature.name for feature in features]
    scores, precisions = score_pair(benchmark, mixer, encoder, names, materials.trunk)["symmetric"]
    rows = np.arange(len(benchmark.queries)), np.arange(len(benchmark.gallery))
    expected = score_embeddings(
        embed_rows(benchmark.queries, rows[0], mixer),
        embed_rows(benchmark.gallery, rows[1], mixer),
        benchmark.queries.instances,
        benchmark.gallery.instances,
    )
    assert scores.map == pytest.approx(expected.map)
    assert scores.recall_at_1 == pytest.approx(expected.recall_at_1)
    assert np.mean(precisions) == pytest.approx(expected.map)


def test_seeds_share_the_pretrained_backbone_and_not_the_head(directory: Path) -> None:
    materials = Materials.open(load_ablation_config(str(directory / "toy.toml")), directory / "work")
    one, other = (new_query_encoder(materials, seed).state_dict() for seed in (1, 2))
    differing = {name for name in one if not one[name].equal(other[name])}
    assert differing == {"network.whitening.0.weight", "network.whitening.0.bias"}


def test_every_benchmark_has_a_report_and_a_curve(directory: Path) -> None:
    for name in ("q", "a", "b"):
        Image.effect_noise((64, 64), 90).save(directory / f"{name}.png")
    rows = ["path,instance,role", "q.png,x,query", "a.png,x,gallery", "b.png,y,distractor"]
    (directory / "list.csv").write_text("\n".join(rows), encoding="utf-8")
    frozen = 'seeds = [1]\nfrozen_trunk = { feature = "cnn_a_gem", copies = 2 }\ncurve_interval_epochs = 1'
    evaluation = f"[recipe.evaluation]\nopen_sets = ['{directory / 'list.csv'}']"
    text = TINY_ABLATION_TOML.replace("seeds = [1, 2]", frozen).replace("[recipe.evaluation]", evaluation)
    config = directory / "frozen.toml"
    config.write_text(text, encoding="utf-8")
    report, work = directory / "frozen-report", directory / "work"
    words = [str(config), "--out", str(report), "--work-dir", str(work), "--processes", "1", "--only", "full"]
    result = cli.invoke(app, ["ablate", *words])
    assert result.exit_code == 0, result.output
    written = {path.name for path in report.iterdir()}
    assert written == {
        f"toy-{name}{end}" for name in ("scenes", "open-set") for end in (".json", ".md", ".png", "-curves.png")
    }
    materials = Materials.open(load_ablation_config(str(config)), work)
    assert materials.light is not None
    assert [benchmark.protocol.name for benchmark in materials.benchmarks] == ["scenes", "open_set"]
    run = json.loads((work / "runs" / "full-1.json").read_text())["results"][0]
    assert [point["epoch"] for point in run["curve"]] == [0, 1, 2]


def test_an_unknown_variant_is_rejected(directory: Path) -> None:
    words = [str(directory / "toy.toml"), "--work-dir", str(directory / "work"), "--only", "all"]
    result = cli.invoke(app, ["ablate", *words, "--json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "grid_unusable"
