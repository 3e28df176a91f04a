"""Responses of the gallery routes to requests that cannot be fulfilled."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from aff_shared.errors import StoreRejectedError
from aff_shared.store.gallery_store import GalleryPage
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _SlowBackups(MemoryGalleryCatalogue):
    """Waits for `gate` before a page is read, and then fails if `broken`."""

    def __init__(self) -> None:
        super().__init__(make=lambda: _SlowStore(self))
        self.started, self.gate, self.broken = asyncio.Event(), asyncio.Event(), False


class _SlowStore(MemoryGalleryStore):
    def __init__(self, catalogue: _SlowBackups) -> None:
        super().__init__()
        self._catalogue = catalogue

    async def scroll(self, **arguments: Any) -> GalleryPage:
        self._catalogue.started.set()
        await self._catalogue.gate.wait()
        if self._catalogue.broken:
            raise StoreRejectedError("the server has an error")
        return await super().scroll(**arguments)


@asynccontextmanager
async def _service(root: Path, catalogue: MemoryGalleryCatalogue) -> AsyncIterator[httpx.AsyncClient]:
    bundle = root / "bundles" / "mine"
    bundle.mkdir(parents=True, exist_ok=True)
    write_dummy_bundle(bundle, dimension=FakeGalleryEncoder.dimension)
    settings = IndexerSettings(bundle_path=bundle, backups_path=root / "backups", kept_tokens_path=root / "tokens")
    app = create_app(settings, catalogue, load_encoder=load_fake_gallery_encoder)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://indexer") as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/gallery/collections", "/gallery/remix", "/gallery/refuse"])
async def test_a_bundle_that_the_service_does_not_have_is_not_found(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        for name in ("yours", "../bundles/mine"):
            answer = await client.post(path, json={"bundle": name})
            require_problem(answer, 404, "bundle_unknown", name)
    assert "Traceback" not in caplog.text


async def test_a_lost_gallery_is_an_error_until_a_new_one_is_created(tmp_path: Path) -> None:
    catalogue = MemoryGalleryCatalogue()
    async with _service(tmp_path, catalogue) as client:
        live = (await catalogue.collections())[0]
        (await catalogue.collection(live.space)).forget()
        files = {"images": ("red.png", plain_png((255, 0, 0)))}
        require_problem(await client.post("/index", files=files), 503, "gallery_missing")
        for path in ("/readyz", "/gallery"):
            problem = require_problem(await client.get(path), 503, "gallery_missing")
            assert "aff gallery create" in problem["detail"]
        assert (await client.post("/gallery")).json()["count"] == 0
        assert (await client.get("/readyz")).status_code == 200
        assert (await client.post("/index", files=files)).json()["indexed"] == 1
        assert (await client.post("/gallery")).json()["count"] == 1


async def test_a_missing_backup_is_not_found(tmp_path: Path) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        require_problem(await client.post("/gallery/restore", json={"name": "b"}), 404, "backup_not_found", "b")


async def _ended(client: httpx.AsyncClient, answer: httpx.Response) -> Any:
    """Wait for the job that a request started, and return it."""
    assert answer.status_code == 202, answer.text
    job = answer.json()
    async with asyncio.timeout(10):
        while job["state"] == "running":
            await asyncio.sleep(0.01)
            job = (await client.get(f"/gallery/jobs/{job['id']}")).json()
    return job


async def test_of_two_simultaneous_backups_of_one_name_the_second_is_rejected(tmp_path: Path) -> None:
    catalogue = _SlowBackups()
    async with _service(tmp_path, catalogue) as client:
        first = await client.post("/gallery/backups", json={"name": "b"})
        await catalogue.started.wait()
        for path, body in (("backups", {"name": "b"}), ("restore", {"name": "c"}), ("verify", {"space": "d"})):
            answer = await client.post(f"/gallery/{path}", json=body)
            require_problem(answer, 409, "job_running", first.json()["id"])
            assert "backup of 'b'" in answer.json()["detail"]
        catalogue.gate.set()
        ended = await _ended(client, first)
        assert (ended["state"], ended["kind"], ended["result"]["name"]) == ("finished", "backup", "b")
        require_problem(await client.post("/gallery/backups", json={"name": "b"}), 409, "backup_impossible", "b")
        assert [backup["name"] for backup in (await client.get("/gallery/backups")).json()] == ["b"]
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["b"]


async def test_a_failed_backup_leaves_no_directory_and_can_be_repeated(tmp_path: Path) -> None:
    catalogue = _SlowBackups()
    catalogue.gate.set()
    async with _service(tmp_path, catalogue) as client:
        catalogue.broken = True
        failed = await _ended(client, await client.post("/gallery/backups", json={"name": "b"}))
        assert (failed["state"], failed["problem"]["code"]) == ("failed", "store_rejected")
        assert (await client.get("/gallery/backups")).json() == []
        catalogue.broken = False
        made = await _ended(client, await client.post("/gallery/backups", json={"name": "b"}))
        assert made["state"] == "finished"
        assert [path.name for path in (tmp_path / "backups").iterdir()] == ["b"]
        assert [job["state"] for job in (await client.get("/gallery/jobs")).json()] == ["finished", "failed"]


async def test_a_backup_that_cannot_be_written_fails_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        failed = await _ended(client, await client.post("/gallery/backups", json={"name": "b"}))
        assert failed["problem"]["code"] == "backup_impossible"
        assert "Not a directory" in failed["problem"]["detail"]


async def test_a_repeated_start_with_the_same_key_returns_the_same_job(tmp_path: Path) -> None:
    catalogue = _SlowBackups()
    async with _service(tmp_path, catalogue) as client:
        headers = {"Idempotency-Key": "k"}
        first = await client.post("/gallery/backups", json={"name": "b"}, headers=headers)
        again = await client.post("/gallery/backups", json={"name": "b"}, headers=headers)
        catalogue.gate.set()
        ended = await _ended(client, again)
        late = await client.post("/gallery/backups", json={"name": "b"}, headers=headers)
        assert first.json()["id"] == ended["id"] == late.json()["id"]
        assert len((await client.get("/gallery/jobs")).json()) == 1


async def test_a_service_that_stops_during_a_backup_leaves_no_backup_and_has_no_jobs_after_a_restart(
    tmp_path: Path,
) -> None:
    async with _service(tmp_path, catalogue := _SlowBackups()) as client:
        job = (await client.post("/gallery/backups", json={"name": "b"})).json()
        await catalogue.started.wait()
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        assert (await client.get("/gallery/backups")).json() == []
        assert (await client.get("/gallery/jobs")).json() == []
        require_problem(await client.get(f"/gallery/jobs/{job['id']}"), 404, "job_not_found", job["id"])


async def test_an_impossible_job_is_rejected_before_it_starts(tmp_path: Path) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        require_problem(await client.post("/gallery/verify", json={"space": "fff"}), 404, "collection_not_found", "fff")
        assert (await client.get("/gallery/jobs")).json() == []


async def test_a_backup_of_a_newer_release_is_rejected_and_the_others_are_listed(tmp_path: Path) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        for name in ("a", "b"):
            await _ended(client, await client.post("/gallery/backups", json={"name": name}))
        file = tmp_path / "backups" / "a" / "manifest.json"
        file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
        answer = await client.post("/gallery/restore", json={"name": "a", "force": True})
        require_problem(answer, 409, "backup_impossible", "a")
        assert "a newer release wrote it" in answer.json()["detail"]
        assert [backup["name"] for backup in (await client.get("/gallery/backups")).json()] == ["b"]
        restored = await _ended(client, await client.post("/gallery/restore", json={"name": "b"}))
        assert restored["state"] == "finished"


async def test_the_next_backup_removes_one_that_was_interrupted_long_ago(tmp_path: Path) -> None:
    for name, hours in (("old", 25), ("new", 23)):
        path = tmp_path / "backups" / f".{name}.partial"
        path.mkdir(parents=True)
        os.utime(path, (time.time() - hours * 3600,) * 2)
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        await _ended(client, await client.post("/gallery/backups", json={"name": "b"}))
    assert sorted(path.name for path in (tmp_path / "backups").iterdir()) == [".new.partial", "b"]


async def test_the_former_path_of_a_remix_starts_the_same_job_and_is_not_documented(tmp_path: Path) -> None:
    body, key = {"bundle": "mine"}, {"Idempotency-Key": "first"}
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        job = await _ended(client, await client.post("/gallery/refuse", json=body, headers=key))
        assert (job["kind"], job["item"], job["state"]) == ("remix", "mine", "finished")
        assert (await client.post("/gallery/remix", json=body, headers=key)).json()["id"] == job["id"]
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert "/gallery/remix" in paths
    assert "/gallery/refuse" not in paths
