"""The list of what was not indexed: where it goes, what it never touches, and what a spreadsheet makes of it."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest

from aff_shared.schemas.problem import Problem, problem_of
from aff_toolkit.data.image_files import UnreadableFolderError
from aff_toolkit.indexing.indexing_record import FailureList
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.sources import source_items

PROBLEM = problem_of(SourceError("cannot be read"))


def fail(failures: FailureList, *ids: str, location: str = "/photos/a.jpg", problem: Problem = PROBLEM) -> None:
    for item_id in ids:
        failures.add(item_id, location, problem, None)
    failures.close(complete=True)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_nothing_is_written_without_a_failure(tmp_path: Path) -> None:
    fail(FailureList(tmp_path / "failures.csv"))
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_an_earlier_run_is_replaced_by_the_first_failure_and_not_before(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    fail(FailureList(path), "old")
    failures = FailureList(path)
    assert [row["id"] for row in rows(path)] == ["old"]
    fail(failures, "new")
    assert [row["id"] for row in rows(path)] == ["new"]


def test_the_list_of_an_earlier_run_goes_with_the_end_of_one_without_failures_alone(tmp_path: Path) -> None:
    path = tmp_path / "failures.csv"
    fail(FailureList(path), "old")
    FailureList(path).close(complete=False)
    assert path.exists()
    FailureList(path).close(complete=True)
    assert not path.exists()


@pytest.mark.parametrize(
    "own", [b"path,city\na.jpg,Paris\n", b"", b"\xff\xd8\xff\xe0", b'id,source\r"', b"id,source,code\n"]
)
def test_a_file_of_the_user_is_never_overwritten_and_the_list_has_another_name(tmp_path: Path, own: bytes) -> None:
    path = tmp_path / "failures.csv"
    path.write_bytes(own)
    FailureList(path).close(complete=True)
    failures = FailureList(path)
    fail(failures, "a")
    assert path.read_bytes() == own
    assert failures.path == tmp_path / "failures-1.csv"
    assert [row["id"] for row in rows(failures.path)] == ["a"]


@pytest.mark.parametrize(
    "spelling", ["failures.csv", "./failures.csv", "link.csv", "hard.csv", "{tmp_path}/failures.csv"]
)
def test_a_list_of_failures_that_is_the_source_is_never_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.chdir(tmp_path)
    fail(FailureList(Path("failures.csv")), "a")
    Path("link.csv").symlink_to("failures.csv")
    os.link("failures.csv", "hard.csv")
    before = Path("failures.csv").read_bytes()
    source = spelling.format(tmp_path=tmp_path)
    FailureList(Path("failures.csv"), source).close(complete=True)
    failures = FailureList(Path("failures.csv"), source)
    fail(failures, "a")
    assert Path("failures.csv").read_bytes() == before
    assert failures.path == Path("failures-1.csv")


@pytest.mark.parametrize("text", ["=cmd()", "+1", "-1", "@sum(1)", "＝cmd()", "\t=cmd()", "\r=cmd()", "\n=cmd()"])  # noqa: RUF001
def test_no_cell_begins_as_a_formula(tmp_path: Path, text: str) -> None:
    problem = PROBLEM.model_copy(update={"detail": text})
    fail(FailureList(tmp_path / "failures.csv"), text, location=text, problem=problem)
    (row,) = rows(tmp_path / "failures.csv")
    for column in ("id", "source", "detail"):
        assert row[column][0] in "'\\"
    assert (tmp_path / "failures.csv").read_text().count('"') == 2 * 5 * 2  # each of 5 cells of 2 lines in quotes


def test_terminals_find_no_commands_in_the_list(tmp_path: Path) -> None:
    fail(FailureList(tmp_path / "failures.csv"), "\x1b]0;title\x07", "\x9bm", "half \ud800", "byte \udce9")
    ids = [row["id"] for row in rows(tmp_path / "failures.csv")]
    assert ids == ["\\x1b]0;title\\x07", "\\xc2\\x9bm", "half \\ud800", "byte \\xe9"]


def test_files_are_found_again_by_the_list_whatever_their_names_are(tmp_path: Path) -> None:
    names = [b"caf\xe9.jpg", "cafe\u0301.jpg".encode(), b"new\nline.jpg", b"back\\slash.jpg", b"\\xe9.jpg", b"=a,b.jpg"]
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(photos) + b"/" + name)).write_bytes(name)
    failures = FailureList(tmp_path / "failures.csv")
    items = list(source_items(str(photos)))
    for item in items:
        failures.add(item.id, item.location, PROBLEM, {"year": 1889})
    failures.close(complete=True)
    again = list(source_items(str(tmp_path / "failures.csv")))
    assert [(item.id, item.read(), item.payload) for item in again] == [
        (item.id, item.read(), {"year": 1889}) for item in items
    ]


@pytest.mark.parametrize(
    ("path", "problem"), [("folder", "is a folder"), ("none/failures.csv", "there is no folder"), ("/dev/full", "")]
)
def test_a_list_that_cannot_be_written_costs_the_run_nothing(tmp_path: Path, path: str, problem: str) -> None:
    (tmp_path / "folder").mkdir()
    failures = FailureList(tmp_path / path)
    assert problem in failures.problem
    fail(failures, "a", "b")
    assert failures.problem
    assert not list((tmp_path / "folder").iterdir())


def test_a_folder_that_may_not_be_written_is_reported_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind root
    assert FailureList(tmp_path / "failures.csv").problem == "it may not be written"


def test_what_has_no_separate_file_is_listed_with_what_to_index_instead(tmp_path: Path) -> None:
    path, closed = tmp_path / "failures.csv", problem_of(UnreadableFolderError("cannot be read"))
    (tmp_path / "b.tar, c.jpg").write_bytes(b"a file of such a name")
    places = {"/photos/x.tar.gz, a.jpg": PROBLEM, "/l.csv, line 3": PROBLEM, "s3://b/t.parquet, row 2": PROBLEM}
    places |= {"/photos/closed": closed, str(tmp_path / "b.tar, c.jpg"): PROBLEM}
    failures = FailureList(path)
    for place, problem in places.items():
        failures.add(place, place, problem, None)
    failures.close(complete=True)
    *others, file = source_items(str(path))
    details = []
    for item in others:
        with pytest.raises(SourceError) as caught:
            item.read()
        details.append(caught.value.detail)
    assert [detail.partition(": ")[2].partition(":")[0] for detail in details] == [
        "is part of /photos/x.tar.gz",
        "is part of /l.csv",
        "is part of s3",
        "is a folder",
    ]
    assert all("index" in detail for detail in details)
    assert file.read() == b"a file of such a name"
