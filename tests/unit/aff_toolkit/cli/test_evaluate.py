"""`aff evaluate`: every command of the guide, and bad input."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import load_file
from typer.testing import CliRunner

from aff_toolkit.cli.main import app
from aff_toolkit.local.local_service import LocalServices, local_services
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_bundle import TinyBundle
from tests.support.tiny_training import TinyTraining

ROOT = Path(__file__).parents[4]
MODES = ["asymmetric", "symmetric", "light-only"]
BASELINES = ["colour-histogram", "rootsift-vlad"]
REPORT = ["precision_recall.png", "queries.png", "report.json", "report.md"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four instances, 500 to 503, with three views each."""
    return write_photographs(tmp_path_factory.mktemp("photographs"), instances=4, views=3, labelled=True)


@pytest.fixture(autouse=True)
def own_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def evaluate(training: TinyBundle | TinyTraining, *words: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, words), "--bundle", str(training.bundle)])


def measured(training: TinyBundle | TinyTraining, *words: object) -> dict[str, Any]:
    result = evaluate(training, *words, "--json")
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def problem(training: TinyBundle | TinyTraining, *words: object) -> dict[str, Any]:
    result = evaluate(training, *words, "--json")
    assert result.exit_code == 1, result.output
    reported: dict[str, Any] = json.loads(result.stdout)
    return reported


def write_list(path: Path, photographs: Path) -> Path:
    """Two queries, two gallery images each, and two distractors."""
    rows = [
        f"{photographs}/{instance}/{view}.png,{instance},{'query' if view == 0 else 'gallery'}"
        for instance in (500, 501)
        for view in range(3)
    ]
    rows += [f"{photographs}/{instance}/0.png,{instance},distractor" for instance in (502, 503)]
    path.write_text("path,instance,role\n" + "\n".join(rows), encoding="utf-8")
    return path


def write_revisited(directory: Path, name: str, photographs: Path) -> Path:
    """Two queries that are photographs of the gallery too; what else shows their landmark is hard, or junk."""
    (directory / "jpg").mkdir(parents=True)
    names = [f"{instance}_{view}" for instance in range(500, 504) for view in range(3)]
    for one in [*names, "query_500", "query_501"]:
        source = one.replace("query_", "") + ("_0" if one.startswith("query") else "")
        shutil.copy(photographs / f"{source.replace('_', '/')}.png", directory / "jpg" / f"{one}.jpg")
    box = [0.0, 0.0, 64.0, 64.0]
    gnd = [
        {"bbx": box, "easy": [0], "hard": [1], "junk": [2]},
        {"bbx": box, "easy": [3], "hard": [], "junk": [4]},
    ]
    truth = {"imlist": names, "qimlist": ["query_500", "query_501"], "gnd": gnd}
    (directory / f"gnd_{name}.pkl").write_bytes(pickle.dumps(truth))
    return directory


def write_gldv2(directory: Path, photographs: Path) -> Path:
    for folder, views in (("index", (0, 1)), ("test", (2,))):
        for instance in range(500, 504):
            for view in views:
                path = directory / folder / "a" / "b" / "c" / f"abc{instance}{view}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(photographs / f"{instance}/{view}.png", path)
    index = "".join(f"abc{instance}{view}\n" for instance in range(500, 504) for view in (0, 1))
    (directory / "index.csv").write_text("id\n" + index, encoding="utf-8")
    solution = "abc5002,abc5000 abc5001,Public\nabc5012,abc5011,Private\nabc5022,None,Ignored\n"
    (directory / "retrieval_solution_v2.1.csv").write_text("id,images,Usage\n" + solution, encoding="utf-8")
    return directory


@pytest.mark.slow
def test_scenes_need_nothing_and_report_every_mode(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    result = evaluate(tiny_bundle, "scenes", "--instances", 2)
    assert result.exit_code == 0, result.output
    (directory,) = (tmp_path / "out" / "evaluate").iterdir()
    assert directory.name == f"scenes-2-{tiny_bundle.manifest.name}-{tiny_bundle.manifest.fingerprint[:8]}"
    assert [name for name in REPORT if (directory / name).exists()] == REPORT
    report = json.loads((directory / "report.json").read_text())
    assert list(report["modes"]) == [*MODES, *BASELINES]
    assert all(name in result.stdout for name in ("asymmetric", "symmetric", "light only", "colour", "RootSIFT"))
    for words in ("2 landmarks x 2 queries", "whole image", "single scale", "dimensions", "exact search"):
        assert words in result.stdout  # the protocol is written next to the figures
    assert "report.md, report.json" in result.stdout


def test_a_list_is_measured_in_the_modes_that_were_requested(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    report = measured(tiny_bundle, "csv", path, "--mode", "light-only", "--mode", "symmetric")
    assert list(report["modes"]) == ["symmetric", "light-only", *BASELINES]
    assert (report["queries"], report["gallery"]) == (2, 6)
    assert report["fingerprint"] == tiny_bundle.manifest.fingerprint
    assert report["configuration"]["benchmark"]["path"] == str(path)
    assert (tmp_path / "out" / "evaluate").is_dir()


def test_the_baselines_can_be_left_out_and_join_the_report_later(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    words = ("csv", write_list(tmp_path / "list.csv", photographs), "--mode", "symmetric", "--out", "here")
    assert list(measured(tiny_bundle, *words, "--no-baselines")["modes"]) == ["symmetric"]
    report = measured(tiny_bundle, *words)
    assert {name: one["name"] for name, one in report["modes"].items()} == {
        "symmetric": "symmetric",
        "colour-histogram": "colour histogram, 512-d",
        "rootsift-vlad": "RootSIFT + VLAD, 8,192-d",
    }
    assert [one["dimension"] for one in report["modes"].values()] == [report["dimension"], 512, 8192]


@pytest.mark.slow
@pytest.mark.parametrize("live", [False, True])
def test_listed_junk_is_taken_out_of_the_ranking_in_every_mode(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, live: bool
) -> None:
    """The query's own photograph would be found first; it is junk, and everything else a positive."""
    names = [f"{photographs}/{instance}/0.png" for instance in (500, 501, 502)]
    rows = [f"{names[0]},a,query,{names[1]};{names[2]},{names[0]}", *(f"{name},a,gallery,," for name in names)]
    path = tmp_path / "list.csv"
    path.write_text("path,instance,role,positives,junk\n" + "\n".join(rows), encoding="utf-8")
    report = measured(tiny_bundle, "csv", path, *(["--live"] if live else []))
    assert list(report["modes"]) == (["asymmetric"] if live else [*MODES, *BASELINES])
    assert {one["setups"]["all"]["figures"]["map"] for one in report["modes"].values()} == {1.0}


@pytest.mark.parametrize(("precision", "used"), [("auto", "int8"), ("fp32", "fp32")])
def test_the_precision_of_the_query_encoder_is_reported(
    tiny_training: TinyTraining, photographs: Path, tmp_path: Path, precision: str, used: str
) -> None:
    words = ("csv", write_list(tmp_path / "list.csv", photographs), "--mode", "light-only", "--precision", precision)
    report = measured(tiny_training, *words)
    assert report["precision"] == used
    assert f"query encoder in {used}" in report["protocol"]


def test_each_photograph_of_a_folder_is_searched_in_all_the_others(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    report = measured(tiny_bundle, "folder", photographs, "--mode", "symmetric", "--out", tmp_path / "here")
    assert (report["queries"], report["gallery"]) == (12, 12)
    assert "leave one out" in report["protocol"]
    assert json.loads((tmp_path / "here" / "report.json").read_text()) == report


@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_revisited_benchmarks_are_scored_in_three_setups(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, name: str
) -> None:
    directory = write_revisited(tmp_path / name, name, photographs)
    report = measured(tiny_bundle, name, directory, "--mode", "symmetric")
    setups = report["modes"]["symmetric"]["setups"]
    assert list(setups) == ["easy", "medium", "hard"]
    # Each query is a photograph of the gallery too, and that one is its only easy positive.
    assert setups["easy"]["figures"] == {"map": 1.0, "mp_at_1": 1.0, "mp_at_5": 1.0, "mp_at_10": 1.0}
    assert (setups["hard"]["queries"], setups["hard"]["left_out"]) == (1, 1)
    assert "cropped to their boxes" in report["protocol"]


def test_distractors_join_the_gallery(tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path) -> None:
    directory = write_revisited(tmp_path / "roxford5k", "roxford5k", photographs)
    words = ("--distractors", photographs, "--mode", "light-only")
    report = measured(tiny_bundle, "roxford5k", directory, *words)
    assert report["gallery"] == 12 + 12
    assert "with 12 distractors" in report["protocol"]


def test_gldv2_is_scored_for_public_and_private_queries(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    report = measured(tiny_bundle, "gldv2", write_gldv2(tmp_path / "gldv2", photographs), "--mode", "asymmetric")
    setups = report["modes"]["asymmetric"]["setups"]
    assert {setup: scores["queries"] for setup, scores in setups.items()} == {"public": 1, "private": 1}
    assert report["query_names"] == ["abc5002", "abc5012"]
    assert 0.0 < setups["private"]["figures"]["map_at_100"] <= 1.0


def test_rankings_are_scored_again_without_the_bundle(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    report = measured(tiny_bundle, "csv", path, "--mode", "light-only", "--out", "here")
    (tmp_path / "here" / "report.json").unlink()
    result = CliRunner().invoke(app, ["evaluate", "score", "here", "--bundle", "nowhere", "--json"])
    assert json.loads(result.stdout) == report
    assert json.loads((tmp_path / "here" / "report.json").read_text()) == report


@pytest.mark.slow
def test_the_live_path_finds_what_exact_search_finds(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    (tmp_path / "text.png").write_text("text")
    with path.open("a", encoding="utf-8") as rows:
        rows.write("\ntext.png,500,gallery\ntext.png,501,query\n")
    live = measured(tiny_bundle, "csv", path, "--live")
    exact = measured(tiny_bundle, "csv", path, "--mode", "asymmetric")
    found = live["modes"]["asymmetric"]["setups"]["all"]["average_precisions"]
    assert found == pytest.approx(exact["modes"]["asymmetric"]["setups"]["all"]["average_precisions"])
    for report in (live, exact):
        unreadable = report["modes"]["asymmetric"]
        assert [one.split(":")[0] for one in unreadable["unreadable_gallery"]] == ["text.png"]
        assert [one.split(":")[0] for one in unreadable["unreadable_queries"]] == ["text.png"]
    assert found[2] == 0.0
    assert "live search over HTTP" in live["protocol"]
    assert live["modes"]["asymmetric"]["seconds"]["query_p95"] > 0
    assert live["precision"] == "as served"
    names = sorted(one.name.rsplit("-", 1)[-1] for one in (tmp_path / "out" / "evaluate").iterdir())
    assert names == sorted([tiny_bundle.manifest.fingerprint[:8], "live"])


@pytest.mark.slow
def test_a_search_that_the_service_rejects_is_reported_and_no_photograph_is_blamed(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFF_QUERY_MAX_LIMIT", "5")
    monkeypatch.setenv("AFF_QUERY_DEFAULT_LIMIT", "5")
    path = write_list(tmp_path / "list.csv", photographs)
    reported = problem(tiny_bundle, "csv", path, "--live")
    assert (reported["code"], reported["item"]) == ("parameter_invalid", "limit")
    assert "at most 5, not 6" in reported["detail"]


@pytest.mark.slow
def test_running_services_keep_their_gallery_for_a_second_run_and_reject_another_benchmark(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    with local_services(tiny_bundle.bundle, tmp_path / "gallery", tmp_path / "services.log") as services:
        live = ("--live", "--indexer-url", services.indexer_url, "--query-url", services.query_url)
        first, second = (measured(tiny_bundle, "csv", path, *live, "--out", out) for out in ("first", "second"))
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-1]), encoding="utf-8")
        reported = problem(tiny_bundle, "csv", path, *live, "--out", "third")
    setups = [report["modes"]["asymmetric"]["setups"] for report in (first, second)]
    assert setups[0] == setups[1]
    assert (reported["code"], reported["item"]) == ("rankings_mismatch", services.indexer_url)
    assert "the gallery holds 6 images, the benchmark 5; start the services on an empty gallery" in reported["detail"]


def test_services_that_run_another_bundle_are_rejected(
    tiny_bundle: TinyBundle, tiny_training: TinyTraining, services: LocalServices, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    words = ["evaluate", "csv", str(path), "--bundle", str(tiny_training.bundle), "--json"]
    words += ["--live", "--indexer-url", services.indexer_url, "--query-url", services.query_url]
    reported = json.loads(CliRunner().invoke(app, words).stdout)
    assert reported["code"] == "rankings_mismatch"
    assert f"runs the bundle {tiny_bundle.manifest.fingerprint[:12]}" in reported["detail"]


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return eval, ("1 + 1",)


def test_a_pickle_that_would_run_code_is_rejected_by_name(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    directory = write_revisited(tmp_path / "rparis6k", "rparis6k", photographs)
    (directory / "gnd_rparis6k.pkl").write_bytes(pickle.dumps({"imlist": Malicious()}))
    reported = problem(tiny_bundle, "rparis6k", directory)
    assert reported["code"] == "ground_truth_invalid"
    assert "builtins.eval" in reported["detail"]
    assert reported["item"] == str(directory / "gnd_rparis6k.pkl")


def test_photographs_that_are_missing_are_named_and_the_others_measured(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    directory = write_revisited(tmp_path / "roxford5k", "roxford5k", photographs)
    (directory / "jpg" / "500_0.jpg").unlink()
    (directory / "jpg" / "query_501.jpg").unlink()
    result = evaluate(tiny_bundle, "roxford5k", directory, "--mode", "light-only", "--out", "here")
    assert result.exit_code == 0
    assert "1 gallery images could not be read, the first: 500_0: cannot be read" in result.stderr
    assert "1 queries could not be read, the first: query_501: cannot be read" in result.stderr
    easy = json.loads(Path("here/report.json").read_text())["modes"]["light-only"]["setups"]["easy"]
    assert easy["average_precisions"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("words", "code", "item"),
    [
        (["csv", "columns.csv"], "photograph_list_invalid", "columns.csv"),
        (["csv", "junk.csv"], "ground_truth_invalid", "junk.csv"),
        (["csv", "none.csv"], "photograph_list_invalid", "none.csv"),
        (["csv"], "benchmark_unusable", "csv"),
        (["roxford5k", "empty"], "ground_truth_invalid", "gnd_roxford5k.pkl"),
        (["gldv2", "empty"], "benchmark_unusable", "index"),
        (["folder", "none"], "folder_unusable", "none"),
        (["score", "empty"], "rankings_unusable", "evaluation.json"),
        (["score"], "parameter_invalid", "PATH"),
        (["scenes", "--mode", "heavy"], "parameter_invalid", "--mode"),
        (["scenes", "--live", "--mode", "symmetric"], "parameter_invalid", "--mode"),
        (["scenes", "--live", "--baselines"], "parameter_invalid", "--baselines"),
        (["scenes", "--indexer-url", "http://x"], "parameter_invalid", "--indexer-url and --query-url"),
        (["scenes", "--indexer-url", "http://x", "--query-url", "http://y"], "parameter_invalid", "--indexer-url"),
        (["scenes", "--features", "g.npy", "q.npy"], "features_unusable", "g.npy"),
        (["scenes", "--rankings", "r.npy"], "rankings_unusable", "r.npy"),
        (["scenes", "--rankings", "r.npy", "--similarity", "inner-product"], "parameter_invalid", "--similarity"),
        (["scenes", "--rankings", "r.npy", "--precision", "int8"], "parameter_invalid", "--precision"),
        (["scenes", "--features", "g.npy", "q.npy", "--rankings", "r.npy"], "parameter_invalid", "--rankings"),
        (["scenes", "--features", "g.npy", "q.npy", "--live"], "parameter_invalid", "--live"),
        (["scenes", "--rankings", "r.npy", "--mode", "symmetric"], "parameter_invalid", "--mode"),
        (["scenes", "--live", "--save-features", "here"], "parameter_invalid", "--save-features"),
    ],
)
def test_bad_input_is_reported_by_code_and_item(
    tiny_bundle: TinyBundle, tmp_path: Path, words: list[str], code: str, item: str
) -> None:
    (tmp_path / "columns.csv").write_text("file,label\na,b\n", encoding="utf-8")
    (tmp_path / "junk.csv").write_text("path,instance,role,junk\nq,a,query,b\na,a,gallery,\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    reported = problem(tiny_bundle, *words)
    assert reported["code"] == code
    assert reported["item"].endswith(item)


def test_a_directory_of_another_evaluation_is_rejected(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    path = write_list(tmp_path / "list.csv", photographs)
    measured(tiny_bundle, "csv", path, "--mode", "light-only", "--out", "here")
    reported = problem(tiny_bundle, "csv", path, "--mode", "light-only", "--depth", 3, "--out", "here")
    assert (reported["code"], reported["item"]) == ("rankings_mismatch", "here")
    assert "depth 1000, not 3" in reported["detail"]


def test_an_unknown_benchmark_is_reported_with_those_there_are(tiny_bundle: TinyBundle) -> None:
    result = evaluate(tiny_bundle, "oxford")
    assert result.exit_code == 2
    assert "'oxford'" in result.stderr
    assert "roxford5k" in result.stderr


@pytest.fixture(scope="module")
def saved(tiny_bundle: TinyBundle, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list with a gallery image and a query that cannot be read, its evaluation in all modes, and its features."""
    directory = tmp_path_factory.mktemp("saved")
    path = write_list(directory / "list.csv", photographs)
    (directory / "text.png").write_text("text")
    with path.open("a", encoding="utf-8") as rows:
        rows.write("\ntext.png,500,gallery\ntext.png,501,query\n")
    out, features = directory / "evaluation", directory / "features"
    measured(tiny_bundle, "csv", path, "--no-baselines", "--out", out, "--save-features", features)
    return directory


def scores(report: dict[str, Any], method: str) -> dict[str, Any]:
    setup: dict[str, Any] = report["modes"][method]["setups"]["all"]
    return setup


@pytest.mark.parametrize(
    ("mode", "gallery", "queries"),
    [
        ("asymmetric", "mixer", "query-encoder"),
        ("symmetric", "mixer", "mixer"),
        ("light-only", "query-encoder", "query-encoder"),
    ],
)
def test_saved_features_have_the_scores_of_the_bundle(
    tiny_bundle: TinyBundle, saved: Path, mode: str, gallery: str, queries: str
) -> None:
    features = saved / "features"
    words = ("--features", features / f"gallery-{gallery}.npy", features / f"queries-{queries}.npy")
    report = measured(tiny_bundle, "csv", saved / "list.csv", *words)
    expected = json.loads((saved / "evaluation" / "report.json").read_text())
    assert scores(report, "features") == scores(expected, mode)
    assert len(report["modes"]["features"]["unreadable_gallery"]) == 1
    assert report["bundle"] == f"gallery-{gallery}.npy and queries-{queries}.npy"
    assert f"{expected['dimension']} dimensions; exact search by cosine" in report["protocol"]
    assert (saved / "features" / "queries.txt").read_text().splitlines() == report["query_names"]


def test_features_that_were_scaled_are_normalised_with_a_message(
    tiny_bundle: TinyBundle, saved: Path, tmp_path: Path
) -> None:
    features = saved / "features"
    np.save("scaled.npy", np.load(features / "gallery-mixer.npy") * 7.0)
    words = ("csv", saved / "list.csv", "--features", "scaled.npy", features / "queries-mixer.npy", "--out", "here")
    result = evaluate(tiny_bundle, *words)
    assert result.exit_code == 0, result.output
    assert "scaled.npy: normalised to unit length" in result.stderr
    report = json.loads((tmp_path / "here" / "report.json").read_text())
    expected = json.loads((saved / "evaluation" / "report.json").read_text())
    averages = scores(report, "features")["average_precisions"]
    assert averages == pytest.approx(scores(expected, "symmetric")["average_precisions"])
    reported = problem(tiny_bundle, *words, "--similarity", "inner-product")
    assert (reported["code"], "similarity cosine, not inner-product" in reported["detail"]) == (
        "rankings_mismatch",
        True,
    )


def test_dimensions_that_differ_are_reported(tiny_bundle: TinyBundle, saved: Path) -> None:
    features = saved / "features"
    np.save("narrow.npy", np.load(features / "queries-mixer.npy")[:, :5])
    words = ("csv", saved / "list.csv", "--features", features / "gallery-mixer.npy", "narrow.npy")
    reported = problem(tiny_bundle, *words)
    assert (reported["code"], reported["item"]) == ("features_unusable", "narrow.npy")
    assert reported["detail"].startswith("5 dimensions, and ")


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_given_rankings_have_the_scores_of_the_search_that_found_them(
    tiny_bundle: TinyBundle, saved: Path, tmp_path: Path, suffix: str
) -> None:
    rows = load_file(saved / "evaluation" / "rankings" / "asymmetric.safetensors")["rows"]
    if suffix == "npy":
        np.save("rankings.npy", rows)
    else:
        names = (saved / "features" / "gallery.txt").read_text().splitlines()
        lists = [[names[row] for row in ranking if row >= 0] for ranking in rows]
        Path("rankings.json").write_text(json.dumps(lists), encoding="utf-8")
    words = ("csv", saved / "list.csv", "--rankings", f"rankings.{suffix}", "--out", "here")
    report = measured(tiny_bundle, *words)
    expected = json.loads((saved / "evaluation" / "report.json").read_text())
    assert scores(report, "rankings") == scores(expected, "asymmetric")
    assert "given rankings" in report["protocol"]
    assert "Given rankings: `rankings." in (tmp_path / "here" / "report.md").read_text()
    assert measured(tiny_bundle, "score", "here") == report


@pytest.mark.parametrize("whole_path", [True, False])
def test_given_features_need_the_ground_truth_alone(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, whole_path: bool
) -> None:
    """Of Revisited Oxford the file of ground truth, of Google Landmarks the lists; no photograph."""
    revisited = write_revisited(tmp_path / "roxford5k", "roxford5k", photographs)
    shutil.rmtree(revisited / "jpg")
    path = revisited / "gnd_roxford5k.pkl" if whole_path else revisited
    # Each query equals its easy positive; everything else is as far from it.
    np.save("gallery.npy", np.eye(12))
    np.save("queries.npy", np.eye(12)[[0, 3]])
    report = measured(tiny_bundle, "roxford5k", path, "--features", "gallery.npy", "queries.npy")
    assert report["modes"]["features"]["setups"]["easy"]["figures"]["map"] == 1.0
    landmarks = write_gldv2(tmp_path / "gldv2", photographs)
    for folder in ("index", "test"):
        shutil.rmtree(landmarks / folder)
    Path("rankings.json").write_text(json.dumps([["abc5001", "abc5000"], []]), encoding="utf-8")
    report = measured(tiny_bundle, "gldv2", landmarks, "--rankings", "rankings.json")
    setups = report["modes"]["rankings"]["setups"]
    assert [setups[name]["figures"]["map_at_100"] for name in ("public", "private")] == [1.0, 0.0]
