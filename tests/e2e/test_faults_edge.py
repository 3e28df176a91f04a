"""Damaged files of an embedded gallery: what a service reports, and how `aff gallery rebuild` repairs them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aff_shared.errors import StoreDamagedError, StoreError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.gallery_store import GalleryPoint
from aff_shared.store.settings import StoreSettings
from aff_toolkit.cli.main import app
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.faulty_store import acknowledged, index, nearest, problem, search, serving
from tests.support.gallery_points import make_point
from tests.support.images import jpeg_bytes, quarters
from tests.support.other_mixer import write_other_mixer
from tests.support.query_service import COLOURS, QueryService, tiny_query_service
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_query_encoder import tiny_embedding

pytestmark = pytest.mark.anyio


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _empty(path: Path) -> None:
    os.truncate(path, 0)


def _scribble(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xa5" * min(path.stat().st_size, 4096))


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


PANIC = ("collections/*/shard-*/segments/*/vector_storage-embedding/vectors/status.dat", _empty)
"""The engine has no error for it: it panics."""
DAMAGES = [
    ("catalogue.json", _cut),
    ("collections/*/gallery.json", _cut),
    ("collections/*/shard-*", _remove),
    ("collections/*/shard-*/edge_config.json", _empty),
    ("collections/*/shard-*/segments/*/segment.json", _scribble),
    ("collections/*/shard-*/segments/*/version.info", _scribble),
    ("collections/*/shard-*/segments/*/payload_storage/page_0.dat", _remove),
    PANIC,
    ("collections/*/shard-*/wal/open-1", _empty),
]
VECTORS = "collections/*/shard-*/segments/*/vector_storage-embedding/vectors/chunk_0.mmap"


def _damage(gallery: Path, pattern: str, how: Callable[[Path], None]) -> None:
    (path,) = gallery.glob(pattern)
    how(path)


async def _fill(gallery: Path, *spaces: EmbeddingSpace) -> None:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    for space in spaces:
        await catalogue.create(space)
        points = [make_point(name, tiny_embedding(colour)) for name, colour in COLOURS.items()]
        await (await catalogue.collection(space)).upsert(points)
    await catalogue.close()


async def _points(gallery: Path, space: EmbeddingSpace) -> dict[str, GalleryPoint]:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    page = await (await catalogue.collection(space)).scroll(limit=1000)
    await catalogue.close()
    return {point.record.item_id: point for point in page.points}


def _rebuild(gallery: Path, *words: str, code: int) -> Result:
    command = ["gallery", "rebuild", "--gallery-dir", str(gallery), *words]
    result = CliRunner().invoke(app, command, env={"QDRANT_URL": ""})
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def service(tmp_path: Path) -> QueryService:
    """A query service on an embedded gallery of COLOURS."""
    service = tiny_query_service(tmp_path)
    asyncio.run(_fill(service.settings.store.edge_path, service.manifest.space))
    return service


@pytest.mark.parametrize(("pattern", "how"), DAMAGES)
async def test_a_service_does_not_start_on_damaged_files_and_reports_them_with_the_remedy(
    pattern: str, how: Callable[[Path], None], service: QueryService
) -> None:
    gallery = service.settings.store.edge_path
    _damage(gallery, pattern, how)
    for _ in range(2):  # the second time as well: nothing was made worse, and the lock is free
        with pytest.raises(StoreDamagedError) as raised:
            async with service.running():
                pass
        assert str(gallery) in str(raised.value)
        assert "aff gallery rebuild" in str(raised.value)


def test_a_process_ends_with_one_clear_sentence_on_damaged_files(service: QueryService) -> None:
    gallery = service.settings.store.edge_path
    _damage(gallery, *PANIC)
    settings = {
        "QDRANT_URL": "",
        "QDRANT_EDGE_PATH": str(gallery),
        "AFF_QUERY_BUNDLE_PATH": str(service.settings.bundle_path),
        "AFF_QUERY_PORT": "0",
    }
    command = [sys.executable, "-m", "query_api"]
    ended = subprocess.run(
        command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "Gallery store damaged" in ended.stderr
    assert "aff gallery rebuild" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_damage_found_by_a_search_is_reported_and_the_service_continues(service: QueryService) -> None:
    _damage(service.settings.store.edge_path, VECTORS, _empty)
    async with service.running() as client:
        for _ in range(2):
            answer = await search(client, "red")
            assert problem(answer) == (500, "store_damaged")
            assert "aff gallery rebuild" in answer.json()["detail"]
        assert (await client.get("/healthz")).status_code == 200


async def test_a_full_disk_rejects_writes_and_loses_no_acknowledged_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, store = tmp_path / "bundle", StoreSettings(url="", edge_path=tmp_path / "gallery")
    bundle.mkdir()
    write_dummy_bundle(bundle, dimension=FakeGalleryEncoder.dimension)
    served = create_app(IndexerSettings(bundle_path=bundle, store=store), load_encoder=load_fake_gallery_encoder)
    async with serving(served) as client:
        assert acknowledged(await index(client, 0)) == {"0"}
        with _full_disk(monkeypatch):
            answer = await index(client, 1)
            assert problem(answer) == (503, "store_failed")
            assert "no space left" in answer.json()["detail"]
            assert (await client.get("/images/0")).status_code == 200
            assert acknowledged(await index(client, 0)) == {"0"}  # a duplicate: nothing is written
        assert acknowledged(await index(client, 0, 1)) == {"0", "1"}
    with _full_disk(monkeypatch), pytest.raises(StoreError, match="no space left"):
        await open_catalogue(store)


@contextmanager
def _full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))
        yield


@pytest.mark.parametrize(("pattern", "how"), [*DAMAGES[1:3], PANIC, (VECTORS, _empty), (VECTORS, _scribble)])
def test_a_damaged_collection_is_set_aside_and_the_service_starts_again_to_be_filled(
    pattern: str, how: Callable[[Path], None], service: QueryService
) -> None:
    gallery = service.settings.store.edge_path
    _damage(gallery, pattern, how)
    told = json.loads(_rebuild(gallery, "--json", code=3).stdout)
    assert list(Path(told["aside"]).iterdir())
    assert told["to_be_indexed"] == [service.manifest.space.id[:12]]
    asyncio.run(_fill(gallery, service.manifest.space))
    asyncio.run(_finds_red(service))
    assert "Nothing is damaged" in _rebuild(gallery, code=0).stdout


def test_a_damaged_catalogue_costs_no_image(service: QueryService) -> None:
    gallery = service.settings.store.edge_path
    _damage(gallery, "catalogue.json", _cut)
    told = json.loads(_rebuild(gallery, "--json", code=0).stdout)
    assert (told["live"], told["images"]) == (service.manifest.space.id, len(COLOURS))
    asyncio.run(_finds_red(service))


async def _finds_red(service: QueryService) -> None:
    async with service.running() as client:
        assert nearest(await search(client, "red")) == "red"


async def test_a_gallery_that_a_service_has_open_is_left_alone(service: QueryService) -> None:
    async with service.running() as client:
        result = await asyncio.to_thread(_rebuild, service.settings.store.edge_path, code=1)
        assert "another process" in result.output
        assert nearest(await search(client, "red")) == "red"


async def test_where_another_collection_is_whole_searches_go_there_and_the_damaged_one_is_filled_from_kept_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_other_mixer(TINY_BUNDLE, tmp_path / "bundles" / "old", name="old")
    new = write_other_mixer(tmp_path / "bundles" / "old", tmp_path / "bundles" / "new", name="new")
    gallery, tokens = tmp_path / "gallery", tmp_path / "tokens"
    await _index_into_both(tmp_path / "bundles" / "old", gallery, tokens)
    before = await _points(gallery, new.space)
    _damage(gallery, VECTORS.replace("collections/*", f"collections/{new.space.id[:12]}"), _empty)

    monkeypatch.setenv("AFF_INDEX_KEPT_TOKENS_PATH", str(tokens))
    words = ("--bundle", str(tmp_path / "bundles" / "old"), "--json")
    told = json.loads((await asyncio.to_thread(_rebuild, gallery, *words, code=0)).stdout)
    assert (told["live"], told["images"], told["to_be_indexed"]) == (old.space.id, len(before), [])
    after = await _points(gallery, new.space)
    assert after.keys() == before.keys()
    for item_id, point in after.items():
        assert point.embedding @ before[item_id].embedding > 0.999


async def _index_into_both(bundle: Path, gallery: Path, tokens: Path) -> None:
    """Index photographs into the collections of `old` and `new`, the second of which is live."""
    store = StoreSettings(url="", edge_path=gallery)
    served = create_app(IndexerSettings(bundle_path=bundle, store=store, kept_tokens_path=tokens))
    async with serving(served) as client:
        built = (await client.post("/gallery/collections", json={"bundle": "new"})).json()
        files = [("images", (f"{n}.jpg", jpeg_bytes(quarters(64 + 32 * n)))) for n in range(3)]
        assert (await client.post("/index", files=files)).json()["indexed"] == 3
        assert (await client.post("/gallery/live", json={"space": built["space"]["id"]})).status_code == 200
