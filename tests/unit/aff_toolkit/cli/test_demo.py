"""`aff demo`, procedural and with one's own photographs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from aff_client.index_client import Upload
from aff_toolkit.cli.main import app
from aff_toolkit.data.scenes import render_view
from aff_toolkit.demo import DemoPhotographs
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TinyBundle

LANDMARKS = 14


def demo(bundle: Path, *arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["demo", "--bundle", str(bundle), *map(str, arguments)])


@pytest.mark.slow
def test_the_procedural_demo_reports_and_draws(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aff_toolkit.demo._INSTANCES", LANDMARKS)
    monkeypatch.setattr("aff_toolkit.demo._DISTRACTORS", 3)
    (tmp_path / "gallery").mkdir()
    result = demo(tiny_bundle.bundle, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert "recall@10" in result.stdout
    assert "make demo IMAGES=folder QUERY=photo.jpg" in result.stdout
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert list(report) == [
        "gallery_images",
        "instances",
        "queries",
        "recall_at_1",
        "recall_at_10",
        "map",
        "query_latency_ms",
        "index_images_per_s",
        "fingerprint",
        "store",
    ]
    assert (report["gallery_images"], report["instances"], report["queries"]) == (59, 14, 14)
    assert 0.0 < report["map"] <= 1.0
    # The bundle of the tests was trained on procedural landmarks alone: it finds them.
    assert 0.7 <= report["recall_at_1"] <= report["recall_at_10"] <= 1.0
    assert 0.0 < report["query_latency_ms"]["p50"] <= report["query_latency_ms"]["p95"]
    assert report["index_images_per_s"] > 0.0
    assert report["fingerprint"] == tiny_bundle.manifest.fingerprint
    assert report["store"] == "qdrant_edge"
    with Image.open(tmp_path / "results.png") as picture:
        assert picture.size[1] > 12 * 150
    assert (tmp_path / "gallery").exists(), "a directory of the user's was removed"


@pytest.fixture
def running(services: LocalServices, monkeypatch: pytest.MonkeyPatch) -> None:
    """The demo finds services that run already, instead of starting its own."""

    @contextmanager
    def already_running(*_: Path) -> Iterator[LocalServices]:
        yield services

    monkeypatch.setattr("aff_toolkit.cli.demo.local_services", already_running)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for i in range(3):
        (folder / f"own-{i}.jpg").write_bytes(jpeg_bytes(render_view(100 + i, 0, size=(120, 160))))
    (folder / "broken.jpg").write_bytes(b"text")
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("running")
def test_own_photographs_are_indexed_and_searched(tiny_bundle: TinyBundle, own: Path, tmp_path: Path) -> None:
    options = ("--images", own, "--query", own / "own-1.jpg", "--out", tmp_path / "out")
    words = demo(tiny_bundle.bundle, *options)
    assert words.exit_code == 0, words.output
    assert "not indexed: broken.jpg" in words.stderr
    assert "hits; decode" in words.stdout
    with Image.open(tmp_path / "out" / "results.png") as picture:
        assert picture.width > 300
    assert json.loads(demo(tiny_bundle.bundle, *options, "--json").stdout)["hits"]


@pytest.mark.slow
@pytest.mark.usefixtures("running")
def test_a_photograph_that_the_indexer_rejects_ends_the_procedural_demo(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Upload("demo/broken", "broken.jpg", b"text", {"instance": "none"})
    monkeypatch.setattr("aff_toolkit.cli.demo.render_demo_photographs", lambda: DemoPhotographs([broken], []))
    result = demo(tiny_bundle.bundle, "--out", tmp_path)
    assert result.exit_code == 1
    assert "The demo failed: broken.jpg" in result.stderr


@pytest.mark.parametrize("option", ["--images", "--query"])
def test_a_gallery_and_a_query_go_together(option: str, tmp_path: Path) -> None:
    result = demo(tmp_path, option, tmp_path, "--out", tmp_path)
    assert result.exit_code == 2
    assert "have to be set together" in result.stderr


@pytest.mark.slow
def test_services_that_do_not_start_fail_with_the_end_of_their_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aff_toolkit.cli.demo.render_demo_photographs", lambda: DemoPhotographs([], []))
    result = demo(tmp_path / "none", "--out", tmp_path, "--json")
    assert result.exit_code == 1
    problem = json.loads(result.stdout)
    assert problem["code"] == "service_not_ready"
    assert "no readable bundle.json" in problem["detail"]
