"""Effects of a second source, or of the list of failures, on the images of a real gallery indexer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from aff_client.index_client import IndexerClient
from aff_shared.schemas.indexing import LookupImage
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.sources import source_items
from aff_toolkit.local.local_service import LocalServices
from tests.support.plain_photograph import plain_png

_NO_OPTIONS = IndexingOptions()


@pytest.fixture(scope="module")
def indexer(services: LocalServices) -> Iterator[IndexerClient]:
    with IndexerClient(services.indexer_url) as client:
        yield client


def write(folder: Path, photographs: Mapping[str, tuple[int, int, int]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, colour in photographs.items():
        (folder / name).write_bytes(plain_png(colour))
    return folder


def index(
    indexer: IndexerClient,
    source: Path,
    *,
    prefix: str = "",
    failures: Path | None = None,
    options: IndexingOptions = _NO_OPTIONS,
    on_replace: Callable[[Sequence[str]], None] = lambda _: None,
) -> IndexingSummary:
    with IndexingRecord(failures, str(source)) as record:
        items = source_items(str(source), prefix=prefix, passed_over=record.summary.passed_over)
        index_items(indexer, items, record, options, lambda _: None, on_replace)
    return record.summary


def counts(summary: IndexingSummary) -> tuple[int, int, int, int]:
    return summary.indexed, summary.updated, summary.duplicate, summary.failed


def test_other_content_under_an_id_is_reported_before_it_is_replaced(indexer: IndexerClient, tmp_path: Path) -> None:
    first = write(tmp_path / "colA", {"again-1.png": (10, 0, 0), "again-2.png": (20, 0, 0)})
    second = write(tmp_path / "colB", {"again-1.png": (30, 0, 0), "again-2.png": (20, 0, 0), "again-3.png": (40, 0, 0)})
    assert counts(index(indexer, first)) == (2, 0, 0, 0)
    held = hashlib.sha256(plain_png((10, 0, 0))).hexdigest()
    reported: list[tuple[Sequence[str], list[str]]] = []

    def on_replace(ids: Sequence[str]) -> None:
        reported.append((ids, indexer.lookup([LookupImage(id="again-1.png", content_sha256=held)])))

    assert counts(index(indexer, second, on_replace=on_replace)) == (1, 1, 1, 0)
    assert reported == [(["again-1.png"], ["again-1.png"])]  # the gallery still held that of the first folder


def test_another_payload_alone_is_not_reported(indexer: IndexerClient, tmp_path: Path) -> None:
    write(tmp_path, {"payload.png": (50, 0, 0)})
    index(indexer, tmp_path)
    (tmp_path / "list.csv").write_text("path,city\npayload.png,Rome\n")
    reported: list[Sequence[str]] = []
    assert counts(index(indexer, tmp_path / "list.csv", on_replace=reported.append)) == (0, 1, 0, 0)
    assert reported == []


@pytest.mark.parametrize("options", [IndexingOptions(), IndexingOptions(details=True)])
def test_an_edited_payload_is_kept_by_a_source_without_payloads(
    indexer: IndexerClient, tmp_path: Path, options: IndexingOptions
) -> None:
    name = f"edited-{options.details}.png"
    write(tmp_path, {name: (52, int(options.details), 0)})
    assert counts(index(indexer, tmp_path, options=options)) == (1, 0, 0, 0)
    edited = indexer.change(name, {"city": "Paris"}).payload
    assert counts(index(indexer, tmp_path, options=options)) == (0, 0, 1, 0)
    write(tmp_path, {name: (53, int(options.details), 0)})
    assert counts(index(indexer, tmp_path, options=options)) == (0, 1, 0, 0)
    assert indexer.image(name).payload == edited


def test_details_are_added_to_images_that_were_indexed_without(indexer: IndexerClient, tmp_path: Path) -> None:
    write(tmp_path, {"bare.png": (54, 0, 0)})
    index(indexer, tmp_path)
    assert indexer.image("bare.png").payload == {}
    assert counts(index(indexer, tmp_path, options=IndexingOptions(details=True))) == (0, 1, 0, 0)
    assert indexer.image("bare.png").payload == {"file_name": "bare.png"}


def test_what_may_not_be_replaced_fails_by_its_id(indexer: IndexerClient, tmp_path: Path) -> None:
    write(tmp_path, {"kept-0.png": (60, 0, 0), "kept-1.png": (61, 0, 0)})
    index(indexer, tmp_path)
    write(tmp_path, {"kept-0.png": (62, 0, 0), "kept-2.png": (63, 0, 0)})
    summary = index(indexer, tmp_path, options=IndexingOptions(replace=False))
    assert counts(summary) == (1, 0, 1, 1)
    assert summary.failures["kept-0.png"].code == "id_taken"
    held = hashlib.sha256(plain_png((60, 0, 0))).hexdigest()
    assert indexer.lookup([LookupImage(id="kept-0.png", content_sha256=held)]) == ["kept-0.png"]


@pytest.mark.parametrize("spelling", ["{}", "/{}/"])
def test_a_folder_before_the_ids_keeps_equal_names_apart(indexer: IndexerClient, tmp_path: Path, spelling: str) -> None:
    for number, name in enumerate((f"{len(spelling)}left", f"{len(spelling)}right")):
        folder = write(tmp_path / name, {"apart.png": (number, 70, 0)})
        assert counts(index(indexer, folder, prefix=spelling.format(name))) == (1, 0, 0, 0)
        assert indexer.lookup([LookupImage(id=f"{name}/apart.png"), LookupImage(id="apart.png")]) == [
            f"{name}/apart.png"
        ]


def test_the_list_of_failures_is_a_source_with_the_same_ids_and_payloads(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    files = {"plain": "a.png", "=cmd()": "b.png", "'=quoted": "c.png"}
    listed = tmp_path / "list.csv"
    listed.write_text("id,path,year:int\n" + "".join(f"{name},{file},1889\n" for name, file in files.items()))
    for file in files.values():
        (tmp_path / file).write_bytes(b"no image")
    failures = tmp_path / "failures.csv"
    assert counts(index(indexer, listed, prefix="failed", failures=failures)) == (0, 0, 0, 3)
    write(tmp_path, {file: (number, 88, 0) for number, file in enumerate(files.values())})
    assert counts(index(indexer, failures, failures=failures)) == (3, 0, 0, 0)
    assert failures.exists()
    assert counts(index(indexer, listed, prefix="failed", failures=failures)) == (0, 0, 3, 0)
    assert not failures.exists()


def test_a_folder_that_cannot_be_read_is_named_and_counted_and_the_rest_is_indexed(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    write(tmp_path / "open", {"beside.png": (90, 0, 0)})
    (tmp_path / "gone").symlink_to("nowhere")
    summary = index(indexer, tmp_path, failures=tmp_path / "failures.csv")
    assert counts(summary) == (1, 0, 0, 0)
    assert summary.unreadable_folders == 1
    assert summary.failures["gone/"].code == "folder_unreadable"
    assert str(tmp_path / "gone") in (tmp_path / "failures.csv").read_text()


def test_control_characters_of_a_file_name_are_escapes_in_its_id(indexer: IndexerClient, tmp_path: Path) -> None:
    names = ("new\nline.png", "\x1b[31mred.png", "\x9bm.png")
    write(tmp_path, {name: (number, 95, 0) for number, name in enumerate(names)})
    assert counts(index(indexer, tmp_path)) == (3, 0, 0, 0)
    ids = ["new\\x0aline.png", "\\x1b[31mred.png", "\\xc2\\x9bm.png"]
    assert indexer.lookup([LookupImage(id=name) for name in ids]) == ids


def test_a_pipe_and_a_huge_file_fail_alone(indexer: IndexerClient, tmp_path: Path) -> None:
    write(tmp_path, {"whole.png": (97, 0, 0)})
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    with (tmp_path / "sparse.png").open("wb") as file:
        file.truncate(2**35)
    (tmp_path / "list.csv").write_text("path\nwhole.png\nzero.png\nsparse.png\n/dev/zero\n")
    for source, failed in ((tmp_path, 2), (tmp_path / "list.csv", 3)):
        summary = index(indexer, source)
        assert (summary.indexed + summary.duplicate, summary.failed) == (1, failed)
        assert summary.failures["zero.png"].code == "photograph_unreadable"
        assert summary.failures["sparse.png"].code == "image_too_many_bytes"
