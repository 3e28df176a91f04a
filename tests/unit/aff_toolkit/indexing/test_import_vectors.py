"""Vectors of other tools as a gallery, and a gallery's vectors for other tools."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from aff_shared.errors import BackupError, GalleryMissingError, StoreUnavailableError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.settings import StoreSettings
from aff_toolkit.indexing.import_vectors import ImportedRows, export_vectors, import_vectors
from aff_toolkit.indexing.source_item import SourceError
from aff_toolkit.indexing.vector_rows import UNKNOWN_CONTENT
from aff_toolkit.indexing.vector_tables import VectorTable, open_vectors
from gallery_indexer.collections.export_gallery import export_gallery
from gallery_indexer.indexing.payload_limits import PayloadLimits
from tests.support.counted_progress import CountedProgress
from tests.support.gallery_points import make_point, make_points, make_space, random_units
from tests.support.gallery_stores import gallery_catalogue_of_kind
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.qdrant_rest_server import qdrant_rest_server

pytestmark = pytest.mark.anyio

SPACE = make_space("foreign")
COUNT = 30
LIMITS = PayloadLimits(max_bytes=4096)
VECTORS = 3 * random_units(COUNT, seed=5)
IDS = [f"bild/ü {number} 猫" for number in range(COUNT)]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aff_shared.store.server.catalogue._FOLLOWED_S", 0)
    monkeypatch.setattr("gallery_indexer.collections.backup_gallery.STORE_WAIT_S", 0)
    monkeypatch.setattr("gallery_indexer.collections.export_gallery._LARGEST_PAGE", 7)
    monkeypatch.setattr("aff_toolkit.indexing.vector_tables._ROWS_AT_A_TIME", 4)


@asynccontextmanager
async def _catalogue(kind: str, directory: Path) -> AsyncIterator[GalleryCatalogue]:
    if kind != "server":
        async with gallery_catalogue_of_kind(kind, directory) as catalogue:
            yield catalogue
        return
    async with qdrant_rest_server(directory) as server:
        settings = StoreSettings(url=f"http://127.0.0.1:{server.port}", prefer_grpc=False, max_retries=0)
        catalogue = await open_catalogue(settings)
        try:
            yield catalogue
        finally:
            await catalogue.close()


def _opened(
    path: Path, rows: Path | None = None, id_column: str = "id", vector_column: str = "embedding"
) -> VectorTable:
    return open_vectors(path, rows=rows, id_column=id_column, vector_column=vector_column)


async def _import(
    table: VectorTable, catalogue: GalleryCatalogue | None = None, space: EmbeddingSpace = SPACE
) -> tuple[ImportedRows, list[GalleryPoint]]:
    catalogue = catalogue or MemoryGalleryCatalogue()
    imported = await import_vectors(catalogue, table, space, LIMITS, CountedProgress())
    return imported, await _points(catalogue)


async def _points(catalogue: GalleryCatalogue) -> list[GalleryPoint]:
    (collection,) = await catalogue.collections()
    assert collection.live
    store = await catalogue.collection(collection.space)
    points = (await store.scroll(limit=1000)).points
    thumbnails = await store.thumbnails([point.record.item_id for point in points])
    found = [replace(point, thumbnail=thumbnails.get(point.record.item_id)) for point in points]
    return sorted(found, key=lambda point: point.record.item_id)


def _write_parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.table({"id": IDS, "embedding": list(VECTORS), **columns}), path)
    return path


def _write_npy(directory: Path, vectors: Any = VECTORS, name: str = "embeddings.npy") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    np.save(directory / name, vectors)
    return directory


def _write_lines(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["edge", "server"])
async def test_a_table_of_vectors_becomes_the_live_collection(kind: str, tmp_path: Path) -> None:
    shares = [number / 7 for number in range(COUNT)]
    table = _opened(_write_parquet(tmp_path / "dump.parquet", city=["Paris", None] * (COUNT // 2), share=shares))
    async with _catalogue(kind, tmp_path / "gallery") as catalogue:
        await catalogue.create(make_space("former"))
        progress = CountedProgress()
        imported = await import_vectors(catalogue, table, SPACE, LIMITS, progress)
        points = await _points(catalogue)
        store = await catalogue.collection(SPACE)
        hits = await store.search(VECTORS[4] / 3, limit=1)
        again, same = await _import(table, catalogue)
    assert (imported.count, imported.rejected, progress.done, progress.total) == (COUNT, 0, COUNT, COUNT)
    assert [point.record.item_id for point in points] == sorted(IDS)
    by_id = {point.record.item_id: point for point in points}
    np.testing.assert_allclose(by_id[IDS[3]].embedding, VECTORS[3] / 3, atol=1e-6)
    assert by_id[IDS[2]].record.payload == {"city": "Paris", "share": pytest.approx(2 / 7)}
    assert by_id[IDS[3]].record.payload == {"share": pytest.approx(3 / 7)}
    record = by_id[IDS[0]].record
    assert (record.content_sha256, record.width, record.height, record.extractors) == (UNKNOWN_CONTENT, 0, 0, None)
    assert hits[0].record.item_id == IDS[4]
    assert again.count == COUNT
    assert [point.record for point in same] == [point.record for point in points]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
async def test_npy_files_are_read_in_the_order_of_their_numbers_with_rows_of_every_kind(
    dtype: str, tmp_path: Path
) -> None:
    vectors = VECTORS.astype(dtype)
    for number in range(3):
        _write_npy(tmp_path / "npy", vectors[10 * number : 10 * number + 10], f"img_emb_{number + 9}.npy")
    (tmp_path / "ids.txt").write_text("".join(f"{one}\n" for one in IDS), encoding="utf-8")
    np.save(tmp_path / "ids.npy", np.array(IDS))
    _write_lines(tmp_path / "rows.jsonl", [{"id": one} for one in IDS])
    parquet.write_table(pa.table({"image_path": IDS}), tmp_path / "metadata.parquet")
    for rows in ("ids.txt", "ids.npy", "rows.jsonl", "metadata.parquet"):
        column = "image_path" if rows == "metadata.parquet" else "id"
        imported, points = await _import(_opened(tmp_path / "npy", tmp_path / rows, column))
        assert imported.count == COUNT, rows
        found = {point.record.item_id: point.embedding for point in points}
        np.testing.assert_allclose(np.stack([found[one] for one in IDS]), VECTORS / 3, atol=2e-3)
        assert all(point.record.payload == {} for point in points)


async def test_numbers_are_ids_and_the_file_of_ids_next_to_the_vectors_is_found(tmp_path: Path) -> None:
    _write_npy(tmp_path)
    np.save(tmp_path / "ids.npy", np.arange(COUNT))
    for path in (tmp_path, tmp_path / "embeddings.npy"):
        _, points = await _import(_opened(path))
        assert {point.record.item_id for point in points} == {str(number) for number in range(COUNT)}


async def test_fields_that_an_export_has_mean_the_same_and_the_others_are_payload(tmp_path: Path) -> None:
    row = {
        "content_sha256": "ab" * 32,
        "width": 640,
        "height": 480,
        "indexed_at": "2026-01-02T03:04:05.000006Z",
        "extractors": ["cnn"],
        "payload": {"city": "Bern"},
        "year": 2024,
    }
    odd = {
        "width": "wide",
        "content_sha256": "none",
        "indexed_at": "later",
        "city": "Paris",
        "payload": {"city": "Bern"},
    }
    _write_lines(tmp_path / "rows.jsonl", [{"id": "a", **row}, {"id": "b", **odd}])
    _write_npy(tmp_path, VECTORS[:2])
    _, (one, other) = await _import(_opened(tmp_path))
    assert one.record.payload == {"city": "Bern", "year": 2024}
    assert (one.record.content_sha256, one.record.width, one.record.height) == ("ab" * 32, 640, 480)
    assert one.record.indexed_at == datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
    assert one.record.extractors == ("cnn",)
    expected = {"width": "wide", "content_sha256": "none", "indexed_at": "later", "city": "Bern"}
    assert other.record.payload == expected


async def test_unusable_rows_are_rejected_by_name_and_the_others_are_kept(tmp_path: Path) -> None:
    vectors = VECTORS[:12].copy()
    vectors[1, 2], vectors[2, 0], vectors[3] = np.nan, np.inf, 0
    rows: list[Any] = [{"id": f"{number}"} for number in range(12)]
    rows[4] = {"city": "no id"}
    rows[5] = {"id": "x/../y"}
    rows[6] = {"id": "0"}
    rows[7] = {"id": "7", "payload": "[1"}
    rows[8] = {"id": "8", "payload": {"text": "x" * 5000}}
    rows[9] = {"id": "9", "payload": [1]}
    _write_lines(tmp_path / "rows.jsonl", rows)
    _write_npy(tmp_path, vectors)
    imported, points = await _import(_opened(tmp_path))
    assert [point.record.item_id for point in points] == ["0", "10", "11"]
    assert (imported.count, imported.rejected) == (3, 9)
    found = {one.row: (one.id, one.reason) for one in imported.rejected_rows}
    assert found[2] == ("1", "its vector has a number that is not finite")
    assert found[3] == ("2", "its vector has a number that is not finite")
    assert found[4] == ("3", "its vector is zero")
    assert found[5] == ("", "it has no id")
    assert found[6][1].startswith("an id has no part . or ..")
    assert found[7] == ("0", "row 1 has the same id")
    assert "Expecting" in found[8][1]
    assert "the limit is 4096 bytes" in found[9][1]
    assert found[10] == ("9", "its payload is not a JSON object")


async def test_ids_that_differ_in_their_normalisation_alone_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("caf\u00e9\ncafe\u0301\n", encoding="utf-8")
    imported, (point,) = await _import(_opened(_write_npy(tmp_path, VECTORS[:2])))
    assert (imported.count, imported.rejected_rows[0].reason) == (1, "row 1 has the same id")
    np.testing.assert_allclose(point.embedding, VECTORS[0] / 3, atol=1e-6)


async def test_parquet_lists_may_be_missing_or_of_another_length(tmp_path: Path) -> None:
    lists = [[1.0, 2.0], None, [1.0], [3.0, 4.0], [1.0, None]]
    when = [datetime(2026, 5, 1, tzinfo=UTC)] * 5
    columns = {"name": list("abcde"), "vector": lists, "when": when, "nothing": [float("nan")] * 5}
    parquet.write_table(pa.table(columns), tmp_path / "dump.parquet")
    table = _opened(tmp_path, id_column="name", vector_column="vector")
    imported, points = await _import(table, space=make_space(dimension=2))
    assert [point.record.item_id for point in points] == ["a", "d"]
    assert points[0].record.payload == {"when": "2026-05-01T00:00:00+00:00"}
    assert [one.reason for one in imported.rejected_rows] == [
        "it has no vector of this width",
        "it has no vector of this width",
        "its vector has a number that is not finite",
    ]


async def test_fixed_lists_and_several_parquet_files_are_one_table(tmp_path: Path) -> None:
    for number in (9, 10):
        rows = slice(10 * (number - 9), 10 * (number - 9) + 10)
        fixed = pa.FixedSizeListArray.from_arrays(pa.array(VECTORS[rows].ravel()), 8)
        parquet.write_table(pa.table({"id": IDS[rows], "embedding": fixed}), tmp_path / f"part-{number}.parquet")
    table = _opened(tmp_path)
    assert [file.name for file in table.files] == ["part-9.parquet", "part-10.parquet"]
    imported, _ = await _import(table)
    assert imported.count == 20


@pytest.mark.parametrize("form", ["parquet", "npy"])
async def test_an_export_imports_as_the_same_gallery(form: str, tmp_path: Path) -> None:
    points = [
        replace(point, thumbnail=b"RIFF....WEBP" + bytes([number]) if form == "parquet" else None)
        for number, point in enumerate(make_points(COUNT))
    ]
    catalogue, other = MemoryGalleryCatalogue(), MemoryGalleryCatalogue()
    await catalogue.create(SPACE)
    await (await catalogue.collection(SPACE)).upsert(points)
    if form == "parquet":
        await export_gallery(catalogue, tmp_path / "files", CountedProgress())
        place = tmp_path / "files" / "collections" / SPACE.id[:12]
    else:
        place, progress = tmp_path / "files", CountedProgress()
        assert await export_vectors(catalogue, place, progress) == COUNT
        assert (progress.done, progress.total) == (COUNT, COUNT)
    imported, found = await _import(_opened(place), other)
    assert (imported.count, imported.rejected) == (COUNT, 0)
    before = await _points(catalogue)
    assert [(one.record, one.thumbnail) for one in found] == [(one.record, one.thumbnail) for one in before]
    np.testing.assert_allclose([one.embedding for one in found], [one.embedding for one in before], atol=1e-6)


async def test_exported_vectors_are_plain_npy_and_json_lines(tmp_path: Path) -> None:
    catalogue = MemoryGalleryCatalogue()
    with pytest.raises(GalleryMissingError):
        await export_vectors(catalogue, tmp_path / "files", CountedProgress())
    await catalogue.create(SPACE)
    await export_vectors(catalogue, tmp_path / "empty", CountedProgress())
    assert np.load(tmp_path / "empty" / "embeddings.npy").shape == (0, 8)
    await (await catalogue.collection(SPACE)).upsert([make_point("one", VECTORS[0] / 3, {"city": "Bern"})])
    await export_vectors(catalogue, tmp_path / "files", CountedProgress())
    np.testing.assert_allclose(np.load(tmp_path / "files" / "embeddings.npy"), VECTORS[:1] / 3, atol=1e-6)
    row = json.loads((tmp_path / "files" / "rows.jsonl").read_text())
    assert (row["id"], row["payload"], row["width"]) == ("one", {"city": "Bern"}, 640)
    with pytest.raises(BackupError, match="exists already"):
        await export_vectors(catalogue, tmp_path / "files", CountedProgress())


async def test_an_interrupted_import_leaves_the_gallery_and_is_resumed(tmp_path: Path) -> None:
    table = _opened(_write_parquet(tmp_path / "dump.parquet"))
    async with _catalogue("edge", tmp_path / "gallery") as catalogue:
        await catalogue.create(make_space("former"))
        await (await catalogue.collection(make_space("former"))).upsert(make_points(3))
        restoration = catalogue.restoration

        async def failing(key: str) -> Any:
            made = await restoration(key)
            store = await made.create(SPACE)
            upsert, writes = store.upsert, iter(range(3))

            async def fail_at_the_third(points: Any) -> None:
                if next(writes) == 2:
                    raise StoreUnavailableError("away")
                await upsert(points)

            store.upsert = fail_at_the_third  # type: ignore[method-assign]
            return made

        catalogue.restoration = failing  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailableError):
            await import_vectors(catalogue, table, SPACE, LIMITS, CountedProgress())
        assert len(await _points(catalogue)) == 3
        written: list[int] = []

        async def watched(key: str) -> Any:
            made = await restoration(key)
            store = await made.create(SPACE)
            upsert = store.upsert

            async def count(points: Any) -> None:
                written.append(len(points))
                await upsert(points)

            store.upsert = count  # type: ignore[method-assign]
            return made

        catalogue.restoration = watched  # type: ignore[method-assign]
        imported, points = await _import(table, catalogue)
    assert (imported.count, len(points), sum(written)) == (COUNT, COUNT, COUNT - 14)


async def _error(path: Path, rows: Path | None = None, space: EmbeddingSpace = SPACE, **columns: str) -> str:
    with pytest.raises(SourceError) as raised:
        await _import(_opened(path, rows, **columns), space=space)
    return str(raised.value)


async def test_values_without_a_type_of_json_are_converted_or_named(tmp_path: Path) -> None:
    when = datetime(2026, 5, 1)
    converted = {
        "nested": pa.array([{"when": when, "days": [when.date()]}] * COUNT),
        "tags": pa.array([[("a", 1)]] * COUNT, pa.map_(pa.string(), pa.int64())),
    }
    _, points = await _import(_opened(_write_parquet(tmp_path / "a.parquet", **converted)))
    expected = {"when": "2026-05-01T00:00:00", "days": ["2026-05-01"]}
    assert points[0].record.payload == {"nested": expected, "tags": [["a", 1]]}
    for name, value, shown in [
        ("price", Decimal("1.50"), "'price' of the payload, Decimal('1.50'), cannot be written as JSON"),
        ("share", float("inf"), "'share' of the payload, inf, cannot"),
        ("sizes", [1.0, float("nan")], "'sizes' of the payload, [1.0, nan], cannot"),
    ]:
        path = _write_parquet(tmp_path / f"{name}.parquet", **{name: pa.array([None, *[value] * (COUNT - 1)])})
        imported, _ = await _import(_opened(path))
        assert (imported.count, imported.rejected) == (1, COUNT - 1)
        assert shown in imported.rejected_rows[0].reason


async def test_ids_are_text_or_numbers(tmp_path: Path) -> None:
    ids: list[Any] = [1, 2.5, "three", {"a": 1}, [1], True, float("nan"), "\ud800"]
    _write_lines(tmp_path / "rows.jsonl", [{"id": one} for one in ids])
    imported, points = await _import(_opened(_write_npy(tmp_path, VECTORS[: len(ids)])))
    assert [point.record.item_id for point in points] == ["1", "2.5", "three"]
    assert [one.reason for one in imported.rejected_rows] == [
        *["its id is neither text nor a number"] * 3,
        "it has no id",
        "its id has half of a UTF-16 pair",
    ]
    ids = [b"\xff", b"\xfe", *map(str.encode, IDS[2:])]
    table = pa.table({"id": pa.array(ids, pa.binary()), "embedding": list(VECTORS)})
    parquet.write_table(table, tmp_path / "dump.parquet")
    _, points = await _import(_opened(tmp_path / "dump.parquet"))
    assert {r"\xff", r"\xfe"} < {point.record.item_id for point in points}


async def test_times_outside_the_calendar_stay_in_the_payload(tmp_path: Path) -> None:
    time = "0001-01-01T00:00:00+14:00"
    _, points = await _import(_opened(_write_parquet(tmp_path / "dump.parquet", indexed_at=[time] * COUNT)))
    assert points[0].record.payload == {"indexed_at": time}


async def test_the_width_is_that_of_most_vectors(tmp_path: Path) -> None:
    lists = pa.array([[], [1.0, 2.0], *VECTORS[2:]], pa.list_(pa.float32()))
    parquet.write_table(pa.table({"id": IDS, "embedding": lists}), tmp_path / "dump.parquet")
    imported, _ = await _import(_opened(tmp_path))
    assert (imported.count, [one.row for one in imported.rejected_rows]) == (COUNT - 2, [1, 2])


async def test_suffixes_are_in_any_case_and_other_entries_of_a_directory_do_not_matter(tmp_path: Path) -> None:
    _write_npy(tmp_path, name="EMBEDDINGS.NPY")
    (tmp_path / "old.npy").mkdir()
    (tmp_path / "LICENSE").write_text("free")
    (tmp_path / "ROWS.JSONL").write_text("".join(f"{json.dumps({'id': one})}\n" for one in IDS) + "\n")
    imported, _ = await _import(_opened(tmp_path))
    assert imported.count == COUNT


async def test_an_import_with_another_id_column_does_not_resume(tmp_path: Path) -> None:
    path = _write_parquet(tmp_path / "dump.parquet", key=[f"key {number}" for number in range(COUNT)])
    async with _catalogue("edge", tmp_path / "gallery") as catalogue:
        table = _opened(path)
        read, pages = table.chunks, iter(range(2))

        def fail_at_the_third(size: int) -> Iterator[Any]:
            for page in read(size):
                if next(pages, None) is None:
                    raise SourceError("away")
                yield page

        table.chunks = fail_at_the_third  # type: ignore[method-assign]
        with pytest.raises(SourceError):
            await import_vectors(catalogue, table, SPACE, LIMITS, CountedProgress())
        imported, points = await _import(_opened(path, id_column="key"), catalogue)
    assert (imported.count, points[0].record.item_id) == (COUNT, "key 0")


async def test_errors_name_the_file_and_the_remedy(tmp_path: Path) -> None:
    dump = _write_parquet(tmp_path / "a" / "dump.parquet")
    assert "has no column 'key' (--id-column), but id, embedding" in await _error(dump, id_column="key")
    assert "has no column 'vector' (--embedding-column)" in await _error(dump, vector_column="vector")
    assert "dump.parquet: column 'id' has the type string instead of lists" in await _error(dump, vector_column="id")
    assert "vectors of 8 numbers; the embedding space has 3" in await _error(dump, space=make_space(dimension=3))
    npy = _write_npy(tmp_path / "b")
    assert "no file with the ids of the vectors: name one with --ids" in await _error(npy)
    assert "no such file" in await _error(npy, tmp_path / "none.txt")
    (tmp_path / "b" / "ids.txt").write_text("one\ntwo\n")
    assert f"ids.txt: has 2 rows for {COUNT} vectors" in await _error(npy)
    _write_lines(tmp_path / "b" / "rows.jsonl", [{}])
    assert "several kinds of files" in await _error(npy)
    (tmp_path / "b" / "rows.jsonl").write_text("{}\n[]\n")
    assert "line 2 is not a JSON object" in await _error(npy, tmp_path / "b" / "rows.jsonl")
    (tmp_path / "b" / "rows.jsonl").write_text("{\n")
    assert "line 1 is not JSON" in await _error(npy, tmp_path / "b" / "rows.jsonl")
    (tmp_path / "b" / "rows.csv").write_text("id\n")
    assert "ids are read from" in await _error(npy, tmp_path / "b" / "rows.csv")
    _write_npy(tmp_path / "b", VECTORS[:, :3], "more.npy")
    assert "vectors of 3 and 8 numbers" in await _error(npy, tmp_path / "b" / "ids.txt")
    texts = _write_npy(tmp_path / "c", np.array([["a", "b"]]))
    assert "instead of numbers" in await _error(texts, tmp_path / "b" / "ids.txt")
    assert "no such file" in await _error(tmp_path / "none")
    assert "leave out --ids" in await _error(dump, tmp_path / "b" / "ids.txt")
    (tmp_path / "b" / "junk.npy").write_bytes(b"junk")
    assert "junk.npy: cannot be read" in await _error(tmp_path / "b", tmp_path / "b" / "ids.txt")
    nothing = _write_npy(tmp_path / "g", np.zeros((0, 8)))
    (tmp_path / "g" / "ids.txt").write_text("")
    assert "has no vectors" in await _error(nothing)
    (tmp_path / "d").mkdir()
    assert "has neither a Parquet file nor an npy file" in await _error(tmp_path / "d")
    (tmp_path / "d" / "dump.parquet").write_bytes(b"PAR1 no table")
    assert "cannot be read" in await _error(tmp_path / "d")
    zeros = _write_npy(tmp_path / "e", np.zeros((2, 8)))
    (tmp_path / "e" / "ids.txt").write_text("one\ntwo\n")
    assert "no row can be used; row 1: its vector is zero" in await _error(zeros)
    objects = _write_npy(tmp_path / "f", np.array([[{}]], dtype=object))
    assert "cannot be read" in await _error(objects)


async def test_a_row_group_is_not_read_at_once(tmp_path: Path) -> None:
    vectors = np.random.default_rng(3).standard_normal((20_000, 256), np.float32)  # 20 MB
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), 256)
    ids = [str(number) for number in range(len(vectors))]
    parquet.write_table(pa.table({"id": ids, "embedding": fixed}), tmp_path / "dump.parquet", use_dictionary=False)
    del fixed
    before, most = pa.total_allocated_bytes(), 0
    for _, part in _opened(tmp_path).chunks(100):
        assert part.shape == (100, 256)
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 8e6
