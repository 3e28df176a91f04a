"""`aff index` and `aff search` against the running services."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from aff_shared.schemas.searching import SearchResponse
from aff_toolkit.cli.main import app
from aff_toolkit.cli.search import print_hits
from aff_toolkit.data.scenes import render_view
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import jpeg_bytes


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """failures.csv is written into the working directory."""
    monkeypatch.chdir(tmp_path)


def aff(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six photographs, one of them in subfolders that together look like markup, and a broken file."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "old [red] [/red]").mkdir(parents=True)
    (folder / "broken [").mkdir()
    for i in range(6):
        name = f"cli-{i}.jpg" if i else "old [red] [/red]/cli-0.jpg"
        (folder / name).write_bytes(jpeg_bytes(render_view(i, 0, size=(120, 160))))
    (folder / "broken [/].jpg").write_bytes(b"text")
    return folder


@pytest.fixture(scope="module")
def indexed(services: LocalServices, folder: Path) -> Result:
    failures = folder.with_suffix(".csv")
    return aff("index", folder, "--indexer-url", services.indexer_url, "--failures", failures)


def test_index_counts_the_receipts_lists_failures_and_states_what_next(indexed: Result, folder: Path) -> None:
    assert indexed.exit_code == 0, indexed.output
    assert "6 indexed, 0 updated, 0 already there, 1 not indexed" in indexed.stdout
    assert "Next: aff search PHOTO" in indexed.stdout
    assert "not indexed: broken [/].jpg" in indexed.stderr
    assert f"are listed in {folder.with_suffix('.csv')}" in indexed.stderr
    assert "broken [/].jpg" in folder.with_suffix(".csv").read_text()


@pytest.mark.usefixtures("indexed")
def test_a_second_run_finds_duplicates(services: LocalServices, folder: Path) -> None:
    result = aff("index", folder, "--indexer-url", services.indexer_url, "--json")
    document = json.loads(result.stdout)
    assert (document["images"], document["indexed"], document["duplicate"]) == (7, 0, 6)
    assert document["failures"]["broken [/].jpg"]["status"] in {415, 422}
    assert document["gallery_images"] >= 6


def test_only_the_first_failures_are_shown(services: LocalServices, tmp_path: Path) -> None:
    for i in range(23):
        (tmp_path / f"{i:02d}.jpg").write_bytes(b"text")
    result = aff("index", tmp_path, "--indexer-url", services.indexer_url)
    assert "19.jpg" in result.stderr
    assert "20.jpg" not in result.stderr
    assert "and 3 more" in result.stderr


@pytest.mark.usefixtures("indexed")
def test_search_finds_the_photograph_itself(services: LocalServices, folder: Path) -> None:
    result = aff("search", folder / "cli-3.jpg", "--query-url", services.query_url, "--json", "--limit", "500")
    assert result.exit_code == 0, result.output
    hits = json.loads(result.stdout)["hits"]
    assert "cli-3.jpg" in {hit["id"] for hit in hits}
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)


@pytest.mark.usefixtures("indexed")
def test_search_prints_a_table_with_names_as_they_are(services: LocalServices, folder: Path) -> None:
    photograph = folder / "old [red] [/red]" / "cli-0.jpg"
    result = aff("search", photograph, "--query-url", services.query_url, "--limit", "500")
    assert result.exit_code == 0, result.output
    assert "rank" in result.stdout
    assert "[/red]" in result.stdout
    assert "encode" in result.stdout


@pytest.mark.usefixtures("indexed")
def test_the_table_has_a_column_of_strengths_if_the_bundle_is_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    hit = {"id": "a.jpg", "score": 0.9, "width": 9, "height": 9, "indexed_at": "2026-01-01T00:00Z", "payload": {}}
    timings = {"decode": 1, "encode": 1, "search": 1}
    for strength in ("likely", None):
        answer = {"hits": [{**hit, "strength": strength}], "timings_ms": timings, "fingerprint": "0" * 64}
        print_hits(SearchResponse.model_validate(answer))
        printed = capsys.readouterr().out
        assert "a.jpg" in printed
        assert "payload" not in printed
        assert ("strength" in printed, "likely" in printed) == (strength is not None, strength is not None)


def test_open_shows_a_contact_sheet(
    services: LocalServices, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(typer, "launch", shown.append)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = aff("search", folder / "cli-1.jpg", "--query-url", services.query_url, "--limit", "7", "--open")
    assert result.exit_code == 0, result.output
    with Image.open(shown[0]) as sheet:
        assert sheet.width > sheet.height / 2 > 150
    assert Path(shown[0]).is_relative_to(tmp_path)


def test_a_hit_is_drawn_whose_file_is_missing(
    services: LocalServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(typer, "launch", shown.append)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    photo, gone = tmp_path / "photo.jpg", tmp_path / "folder" / "gone.jpg"
    gone.parent.mkdir()
    for path in (photo, gone):
        path.write_bytes(jpeg_bytes(render_view(50, 0, size=(120, 160))))
    aff("index", gone.parent, "--indexer-url", services.indexer_url)
    gone.unlink()
    result = aff("search", photo, "--query-url", services.query_url, "--limit", "500", "--open")
    assert "gone.jpg" in result.stdout
    with Image.open(shown[0]) as sheet:
        assert sheet.getpixel((160 + 75, 54 + 75)) != (250, 250, 250)  # the first hit's picture


@pytest.mark.usefixtures("indexed")
def test_without_a_screen_the_contact_sheet_is_named_and_not_opened(
    services: LocalServices, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typer, "launch", None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    result = aff("search", folder / "cli-1.jpg", "--query-url", services.query_url, "--open")
    assert result.exit_code == 0, result.output
    (sheet,) = tmp_path.glob("aff-*/hits.png")
    assert sheet.name in result.stderr


@pytest.mark.usefixtures("indexed")
def test_a_search_without_hits_still_has_a_contact_sheet(
    services: LocalServices, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr(typer, "launch", shown.append)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    nothing = json.dumps({"must": [{"key": "place", "match": "nowhere"}]})
    result = aff(
        "search", folder / "cli-1.jpg", "--query-url", services.query_url, "--filter", nothing, "--open", "--json"
    )
    assert json.loads(result.stdout)["hits"] == []
    assert Path(shown[0]).exists()


def test_a_rejected_search_is_reported_as_text_or_as_the_problem_of_the_service(
    services: LocalServices, folder: Path
) -> None:
    search = ("search", folder / "cli-1.jpg", "--query-url", services.query_url, "--crop", "0,0,9000,9000")
    words, problem = aff(*search), aff(*search, "--json")
    assert words.exit_code == problem.exit_code == 1
    assert "crop" in words.stderr
    document = json.loads(problem.stdout)
    assert (document["status"], document["code"]) == (422, "crop_invalid")


def test_a_photograph_that_is_missing_is_named(services: LocalServices, tmp_path: Path) -> None:
    result = aff("search", tmp_path / "none [/].jpg", "--query-url", services.query_url)
    assert result.exit_code == 1
    assert "none [/].jpg" in result.stderr


def test_a_file_that_is_not_a_photograph_of_any_size_is_not_searched_with(
    services: LocalServices, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, complaint in ((tmp_path / "pipe.jpg", "pipe"), (Path("/dev/zero"), "device"), (tmp_path, "is a folder")):
        result = aff("search", path, "--query-url", services.query_url)
        assert result.exit_code == 1
        assert complaint in result.stderr


def test_a_photograph_of_any_name_is_searched_with(services: LocalServices, tmp_path: Path) -> None:
    photo = tmp_path / os.fsdecode(b"caf\xe9\n.jpg")
    photo.write_bytes(jpeg_bytes(render_view(1, 0, size=(120, 160))))
    result = aff("search", photo, "--query-url", services.query_url)
    assert result.exit_code == 0, result.output


def test_a_folder_that_cannot_be_read_is_reported_with_status_1_and_others_are_counted(
    services: LocalServices, tmp_path: Path
) -> None:
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "status.jpg").write_bytes(jpeg_bytes(render_view(7, 0, size=(120, 160))))
    words = aff("index", tmp_path, "--indexer-url", services.indexer_url)
    assert words.exit_code == 1
    assert "1 indexed" in words.stdout
    assert "not indexed: gone/: cannot be read" in words.stderr
    assert "1 folders could not be read" in words.stderr
    assert "skipped, because their names are not those of images: 1 .txt" in words.stderr
    problem = json.loads(aff("index", tmp_path, "--indexer-url", services.indexer_url, "--json").stdout)
    assert problem["unreadable_folders"] == 1
    assert problem["passed_over"] == {".csv": 1, ".txt": 1}  # the list of failures is there


def test_a_list_of_failures_that_cannot_be_written_is_reported_and_the_run_continues(
    services: LocalServices, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind root
    result = aff("index", folder, "--indexer-url", services.indexer_url)
    assert result.exit_code == 0
    assert "Warning: failures.csv cannot be written (it may not be written)" in result.stderr
    assert result.stderr.index("Warning") < result.stderr.index("not indexed: broken [/].jpg")
    assert "the list of failures cannot be written" in result.stderr


def test_a_list_is_never_replaced_by_its_own_failures(services: LocalServices, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path\nnone.jpg\n")
    (tmp_path / "failures.csv").write_text("a file of one's own")
    for options in ((), ("--failures", "list.csv"), ("--failures", tmp_path / "list.csv")):
        assert "1 not indexed" in aff("index", "list.csv", "--indexer-url", services.indexer_url, *options).stdout
    assert (tmp_path / "list.csv").read_text() == "path\nnone.jpg\n"
    assert (tmp_path / "failures.csv").read_text() == "a file of one's own"
    assert {path.name for path in tmp_path.glob("*-1.csv")} == {"failures-1.csv", "list-1.csv"}


def test_other_content_under_an_id_is_warned_of_once(services: LocalServices, tmp_path: Path) -> None:
    for number, name in enumerate(("colA", "colB")):
        (tmp_path / name).mkdir()
        for i in range(2):
            photo = jpeg_bytes(render_view(60 + 2 * number + i, 0, size=(120, 160)))
            (tmp_path / name / f"warned-{i}.jpg").write_bytes(photo)
    first, second = (aff("index", name, "--indexer-url", services.indexer_url) for name in ("colA", "colB"))
    assert "Warning" not in first.stderr
    assert second.stderr.count("Warning: the gallery holds other content for warned-0.jpg") == 1
    assert "--prefix" in second.stderr
    kept = aff("index", "colA", "--indexer-url", services.indexer_url, "--no-replace")
    assert "2 not indexed" in kept.stdout
    apart = aff("index", "colA", "--indexer-url", services.indexer_url, "--prefix", "colA")
    assert "2 indexed" in apart.stdout


@pytest.mark.parametrize("option", ["--indexer-url", "--query-url"])
def test_services_that_are_unavailable_are_reported_in_one_sentence(option: str, folder: Path) -> None:
    command = ("index", folder) if option == "--indexer-url" else ("search", folder / "cli-1.jpg")
    result = aff(*command, option, "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "is `aff serve` running?" in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_without_photographs_is_rejected(services: LocalServices, tmp_path: Path) -> None:
    result = aff("index", tmp_path, "--indexer-url", services.indexer_url, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["code"] == "source_unusable"
