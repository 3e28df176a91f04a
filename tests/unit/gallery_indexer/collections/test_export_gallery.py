"""Exports and imports of a gallery, from and to every store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from aff_shared.errors import (
    BackupDamagedError,
    BackupError,
    BackupNotFoundError,
    GalleryMissingError,
    StoreUnavailableError,
)
from aff_shared.store.gallery_catalogue import GalleryCatalogue, open_catalogue
from aff_shared.store.gallery_store import GalleryPage, GalleryPoint
from aff_shared.store.settings import StoreSettings
from gallery_indexer.collections import export_gallery as exporting
from gallery_indexer.collections.backup_gallery import import_gallery
from gallery_indexer.collections.export_gallery import export_gallery
from gallery_indexer.collections.portable_parts import PartWriter
from tests.support.counted_progress import CountedProgress
from tests.support.gallery_points import make_point, make_space, random_units
from tests.support.gallery_stores import gallery_catalogue_of_kind
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.qdrant_rest_server import qdrant_rest_server

pytestmark = pytest.mark.anyio

LIVE, OTHER = make_space("live"), make_space("other", dimension=3)
COUNT = 50


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aff_shared.store.server.catalogue._FOLLOWED_S", 0)
    monkeypatch.setattr(exporting, "STORE_WAIT_S", 0)
    monkeypatch.setattr("gallery_indexer.collections.backup_gallery.STORE_WAIT_S", 0)
    monkeypatch.setattr(exporting, "_PART_ROWS", 20)
    monkeypatch.setattr(exporting, "_LARGEST_PAGE", 7)


@asynccontextmanager
async def _catalogue(kind: str, directory: Path) -> AsyncIterator[GalleryCatalogue]:
    if kind == "edge":
        async with gallery_catalogue_of_kind(kind, directory) as catalogue:
            yield catalogue
        return
    async with qdrant_rest_server(directory) as server:
        names = ("127.0.0.1", "localhost")[: 2 if kind == "nodes" else 1]
        url = ",".join(f"http://{name}:{server.port}" for name in names)
        catalogue = await open_catalogue(StoreSettings(url=url, prefer_grpc=False, max_retries=0))
        try:
            yield catalogue
        finally:
            await catalogue.close()


def _points(dimension: int = 8) -> list[GalleryPoint]:
    """Return images with every kind of value: ids in other scripts, nested payloads, with and without thumbnails."""
    points = []
    for number, embedding in enumerate(random_units(COUNT, dimension=dimension)):
        payload = {"number": number, "share": number / 7, "tags": ["é", None, True], "deep": {"a b": [{"c": -1}]}}
        point = make_point(f"bild/ü {number} 猫", embedding, payload)
        record = replace(point.record, extractors=None if number % 5 == 0 else ("cnn",) * (number % 3))
        points.append(replace(point, record=record, thumbnail=None if number % 4 == 0 else bytes([number, 0, 255])))
    return points


async def _fill(catalogue: GalleryCatalogue, points: list[GalleryPoint]) -> None:
    await catalogue.create(OTHER)
    await catalogue.create(LIVE)
    await catalogue.switch(LIVE.id)
    await (await catalogue.collection(LIVE)).upsert(points)
    await (await catalogue.collection(OTHER)).upsert(_points(3)[:9])


async def _content(catalogue: GalleryCatalogue) -> Any:
    """Return the content of a gallery, sorted."""
    content = []
    for one in await catalogue.collections():
        store = await catalogue.collection(one.space)
        page = await store.scroll(limit=1000)
        thumbnails = await store.thumbnails([point.record.item_id for point in page.points])
        rows = [
            (repr(point.record), thumbnails.get(point.record.item_id), point.embedding.round(5).tolist())
            for point in page.points
        ]
        content.append((one.space, one.live, await store.count(), sorted(rows)))
    return content


async def _exported(directory: Path) -> Path:
    catalogue = MemoryGalleryCatalogue()
    await _fill(catalogue, _points())
    await export_gallery(catalogue, directory, CountedProgress(), {"number": "integer"})
    return directory


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("edge", "server"),
        pytest.param("server", "nodes", marks=pytest.mark.slow),
        pytest.param("nodes", "edge", marks=pytest.mark.slow),
    ],
)
async def test_a_gallery_moves_between_stores_completely(source: str, target: str, tmp_path: Path) -> None:
    progress, back = CountedProgress(), CountedProgress()
    async with _catalogue(source, tmp_path / "source") as catalogue:
        await _fill(catalogue, _points())
        before = await _content(catalogue)
        manifest = await export_gallery(catalogue, tmp_path / "files", progress)
        again = await export_gallery(catalogue, tmp_path / "again", CountedProgress())
    assert [(one.space, one.live, one.count) for one in manifest.collections] == [(LIVE, True, 50), (OTHER, False, 9)]
    assert [[part.count for part in one.parts] for one in manifest.collections] == [[21, 21, 8], [9]]
    assert (progress.done, progress.total) == (59, 59)
    assert [one.parts for one in manifest.collections] == [one.parts for one in again.collections]  # checksums, too
    async with _catalogue(target, tmp_path / "target") as catalogue:
        await catalogue.create(make_space("what is replaced"))
        restored = await import_gallery(catalogue, tmp_path / "files", back)
        assert await _content(catalogue) == before
        await (await catalogue.collection(LIVE)).delete(["bild/ü 1 猫"])
        await import_gallery(catalogue, tmp_path / "files", CountedProgress())  # onto itself
        assert await _content(catalogue) == before
    assert restored == manifest
    assert (back.done, back.total) == (59, 59)


async def test_the_files_are_read_by_pandas(tmp_path: Path) -> None:
    await _exported(tmp_path / "files")
    table = pd.read_parquet(tmp_path / "files" / "collections" / LIVE.id[:12]).set_index("id")
    assert len(table) == COUNT
    row, written = table.loc["bild/ü 3 猫"], _points()[3]
    assert json.loads(row["payload"]) == written.record.payload
    assert row["thumbnail"] == bytes([3, 0, 255])
    assert row["indexed_at"] == pd.Timestamp(written.record.indexed_at)
    np.testing.assert_array_equal(row["embedding"], written.embedding)
    manifest = json.loads((tmp_path / "files" / "manifest.json").read_text())
    part = manifest["collections"][0]["parts"][0]
    file = tmp_path / "files" / "collections" / LIVE.id[:12] / part["file"]
    assert hashlib.sha256(file.read_bytes()).hexdigest() == part["sha256"]
    assert (manifest["collections"][0]["count"], manifest["payload_schema"]) == (COUNT, {"number": "integer"})


class _Interrupted(MemoryGalleryStore):
    """Fails after `left` pages."""

    left = 1000

    async def scroll(self, **arguments: Any) -> GalleryPage:
        self._spend()
        return await super().scroll(**arguments)

    async def upsert(self, points: Any) -> None:
        self._spend()
        await super().upsert(points)

    @classmethod
    def _spend(cls) -> None:
        if cls.left == 0:
            raise StoreUnavailableError("away")
        cls.left -= 1


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> type[_Interrupted]:
    monkeypatch.setattr(_Interrupted, "left", 1000)
    return _Interrupted


async def test_an_interrupted_export_resumes_after_the_last_complete_part(
    tmp_path: Path, interrupted: type[_Interrupted]
) -> None:
    catalogue = MemoryGalleryCatalogue(make=interrupted)
    await _fill(catalogue, _points())
    interrupted.left = 7  # two parts of three pages, and one page
    with pytest.raises(StoreUnavailableError):
        await export_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert not (tmp_path / "files").exists()
    first, second = sorted((tmp_path / ".files.partial" / "collections" / LIVE.id[:12]).glob("*.parquet"))
    second.write_bytes(b"half a part")
    before, interrupted.left = first.stat(), 7  # three pages, two, and the other collection's pages
    manifest = await export_gallery(catalogue, tmp_path / "files", progress := CountedProgress())
    interrupted.left = 1000
    kept = tmp_path / "files" / "collections" / LIVE.id[:12] / first.name
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (manifest.count, progress.done) == (59, 59)
    assert not (tmp_path / ".files.partial").exists()
    await import_gallery(other := MemoryGalleryCatalogue(), tmp_path / "files", CountedProgress())
    assert await _content(other) == await _content(catalogue)


async def test_an_export_interrupted_long_ago_starts_again(tmp_path: Path, interrupted: type[_Interrupted]) -> None:
    catalogue = MemoryGalleryCatalogue(make=interrupted)
    await _fill(catalogue, _points())
    interrupted.left = 4
    with pytest.raises(StoreUnavailableError):
        await export_gallery(catalogue, tmp_path / "files", CountedProgress())
    file = tmp_path / ".files.partial" / "manifest.json"
    former = json.loads(file.read_text())
    file.write_text(json.dumps({**former, "created_at": f"{datetime.now(UTC) - timedelta(hours=25):%FT%TZ}"}))
    interrupted.left = 1000
    await (await catalogue.collection(LIVE)).delete([_points()[0].record.item_id])
    assert (await export_gallery(catalogue, tmp_path / "files", CountedProgress())).collections[0].count == COUNT - 1


async def test_an_interrupted_import_changes_nothing_and_can_be_resumed(
    tmp_path: Path, interrupted: type[_Interrupted], monkeypatch: pytest.MonkeyPatch
) -> None:
    await _exported(tmp_path / "files")
    monkeypatch.setattr("tests.support.memory_gallery_catalogue.MemoryGalleryStore", interrupted)
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(LIVE)
    interrupted.left = 3
    with pytest.raises(StoreUnavailableError):
        await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert [(one.space, one.live) for one in await catalogue.collections()] == [(LIVE, True)]
    assert await (await catalogue.collection(LIVE)).count() == 0
    interrupted.left = 7  # the missing ones of the ten pages of both collections
    await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert [await (await catalogue.collection(space)).count() for space in (LIVE, OTHER)] == [COUNT, 9]


def _first_part(directory: Path) -> Path:
    return directory / "collections" / LIVE.id[:12] / "part-00000.parquet"


def _alter(directory: Path) -> None:
    with _first_part(directory).open("r+b") as file:
        file.seek(200)
        file.write(b"\xff")


def _sign_again(directory: Path) -> None:
    """Write the first part's new checksum into the manifest."""
    manifest = json.loads((directory / "manifest.json").read_text())
    digest = hashlib.sha256(_first_part(directory).read_bytes()).hexdigest()
    manifest["collections"][0]["parts"][0]["sha256"] = digest
    (directory / "manifest.json").write_text(json.dumps(manifest))


def _in_table(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        path = _first_part(directory)
        parquet.write_table(change(parquet.read_table(path)), path)
        _sign_again(directory)

    return apply


def _in_manifest(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        manifest = json.loads((directory / "manifest.json").read_text())
        change(manifest)
        (directory / "manifest.json").write_text(json.dumps(manifest))

    return apply


def _longer(table: Any) -> Any:
    vectors = [[2.0 * number for number in row] for row in table["embedding"].to_pylist()]
    return table.set_column(8, table.schema.field("embedding"), pa.array(vectors, table.schema.field("embedding").type))


def _without_ids(table: Any) -> Any:
    return table.set_column(0, "id", pa.nulls(len(table), pa.string()))


def _twice_the_first(table: Any) -> Any:
    return pa.concat_tables([table.slice(0, 1), table.slice(0, len(table) - 1)])


DAMAGES: dict[str, tuple[Callable[[Path], None], str]] = {
    "altered": (_alter, "its SHA-256 differs"),
    "missing": (lambda directory: _first_part(directory).unlink(), "a part cannot be read"),
    "no Parquet": (
        lambda directory: (_first_part(directory).write_bytes(b"PAR1 or not"), _sign_again(directory))[1],
        "a part cannot be read",
    ),
    "another dimension": (
        _in_manifest(lambda manifest: manifest["collections"][0]["space"].update(dimension=9)),
        "not those of embeddings of width 9",
    ),
    "not of unit length": (_in_table(_longer), "not of unit length"),
    "without ids": (_in_table(_without_ids), "a value is missing"),
    "a row less": (_in_table(lambda table: table.slice(1)), "it has 20 rows instead of 21"),
    "an id twice": (_in_table(_twice_the_first), "49 images instead of 50"),
    "a path that leads out": (
        _in_manifest(lambda manifest: manifest["collections"][0]["parts"][0].update(file="../../part-00000.parquet")),
        "manifest cannot be read",
    ),
    "another count": (
        _in_manifest(lambda manifest: manifest["collections"][0].update(count=51)),
        "counts 51 images, but 50",
    ),
    "nothing live": (
        _in_manifest(lambda manifest: manifest["collections"][0].update(live=False)),
        "one live collection",
    ),
    "no JSON": (lambda directory: (directory / "manifest.json").write_text("{") and None, "manifest cannot be read"),
    "newer": (
        _in_manifest(lambda manifest: manifest.update(version=2, collections="otherwise")),
        "newer release",
    ),
    "unfinished": (_in_manifest(lambda manifest: manifest.update(complete=False)), "is incomplete"),
    "an embedded gallery of an earlier release": (
        lambda directory: ((directory / "manifest.json").unlink(), (directory / "catalogue.json").touch())[1],
        "aff gallery export",
    ),
    "snapshots of an earlier release": (
        lambda directory: ((directory / "manifest.json").unlink(), (directory / "snapshots.json").touch())[1],
        "Qdrant's own tools",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
async def test_invalid_files_are_rejected_and_change_nothing(tmp_path: Path, damage: str) -> None:
    await _exported(tmp_path / "files")
    apply, reason = DAMAGES[damage]
    apply(tmp_path / "files")
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(LIVE)
    await (await catalogue.collection(LIVE)).upsert(_points()[:2])
    with pytest.raises(BackupError, match=reason):
        await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert await (await catalogue.collection(LIVE)).count() == 2


async def test_the_error_of_a_part_has_its_name(tmp_path: Path) -> None:
    _alter(await _exported(tmp_path / "files"))
    with pytest.raises(BackupDamagedError) as caught:
        await import_gallery(MemoryGalleryCatalogue(), tmp_path / "files", CountedProgress())
    assert caught.value.item == f"{LIVE.id[:12]}/part-00000.parquet"


async def test_an_existing_directory_is_not_replaced_and_a_missing_one_is_an_error(tmp_path: Path) -> None:
    catalogue = MemoryGalleryCatalogue()
    with pytest.raises(GalleryMissingError):
        await export_gallery(catalogue, tmp_path / "files", CountedProgress())
    with pytest.raises(BackupNotFoundError):
        await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    await catalogue.create(LIVE)
    await export_gallery(catalogue, tmp_path / "files", CountedProgress())
    with pytest.raises(BackupError, match="of that name"):
        await export_gallery(catalogue, tmp_path / "files", CountedProgress())
    await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert await (await catalogue.collection(LIVE)).count() == 0


class _Forgetful(MemoryGalleryStore):
    """Loses the thumbnails."""

    async def upsert(self, points: Any) -> None:
        await super().upsert([replace(point, thumbnail=None) for point in points])


async def test_a_store_that_does_not_return_the_written_images_is_never_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _exported(tmp_path / "files")
    monkeypatch.setattr("tests.support.memory_gallery_catalogue.MemoryGalleryStore", _Forgetful)
    catalogue = MemoryGalleryCatalogue()
    await catalogue.create(OTHER)
    with pytest.raises(BackupError, match="does not return 'bild/ü"):
        await import_gallery(catalogue, tmp_path / "files", CountedProgress())
    assert [one.space for one in await catalogue.collections()] == [OTHER]


def test_the_file_of_a_part_is_closed_if_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no space left on device")

    writer = PartWriter(tmp_path, 0, dimension=3)
    writer._writer.close()  # so that `finish` has nothing to write
    monkeypatch.setattr(writer._writer, "close", fail)
    writer.close()
    assert writer._file.closed


async def test_no_more_than_a_page_is_read_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await _exported(tmp_path / "files")
    for path in (tmp_path / "files").rglob("*.parquet"):
        metadata = parquet.ParquetFile(path).metadata
        assert max(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)) == 7
    monkeypatch.undo()
    assert [exporting.page_size(dimension) for dimension in (128, 512, 2_048, 65_536)] == [512, 512, 128, 4]
