"""What the routes of the gallery as a whole answer where it cannot be as it was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from aff_contracts.errors import StoreUnavailableError
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.fake_gallery_encoder import FakeGalleryEncoder, load_fake_gallery_encoder
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.plain_photograph import plain_png
from tests.support.problems import require_problem

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class _SlowBackups(MemoryGalleryCatalogue):
    """Writes a part of a backup, and waits for `gate` before the rest; fails where `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate, self.broken = asyncio.Event(), asyncio.Event(), False

    async def backup(self, directory: Path) -> None:
        (directory / "half").touch()
        self.begun.set()
        await self.gate.wait()
        if self.broken:
            raise StoreUnavailableError("the server went away")
        assert (directory / "half").exists()
        await super().backup(directory)


@asynccontextmanager
async def _service(root: Path, catalogue: MemoryGalleryCatalogue) -> AsyncIterator[httpx.AsyncClient]:
    bundle = root / "bundles" / "mine"
    bundle.mkdir(parents=True)
    write_dummy_bundle(bundle, dimension=FakeGalleryEncoder.dimension)
    settings = IndexerSettings(bundle_path=bundle, backups_path=root / "backups", kept_tokens_path=root / "tokens")
    app = create_app(settings, catalogue, load_encoder=load_fake_gallery_encoder)
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://indexer") as client,
    ):
        yield client


@pytest.mark.parametrize("path", ["/gallery/collections", "/gallery/refuse"])
async def test_a_bundle_that_the_service_does_not_have_is_not_found(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        for name in ("yours", "../bundles/mine"):
            answer = await client.post(path, json={"bundle": name})
            require_problem(answer, 404, "bundle_unknown", name)
    assert "Traceback" not in caplog.text


async def test_a_lost_gallery_is_a_problem_until_a_new_one_is_asked_for(tmp_path: Path) -> None:
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


async def test_a_backup_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        require_problem(await client.post("/gallery/restore", json={"name": "b"}), 404, "backup_not_found", "b")


async def test_of_two_backups_of_one_name_at_once_the_first_is_made_and_the_second_refused(tmp_path: Path) -> None:
    catalogue = _SlowBackups()
    async with _service(tmp_path, catalogue) as client:
        first = asyncio.create_task(client.post("/gallery/backups", json={"name": "b"}))
        await catalogue.begun.wait()
        require_problem(await client.post("/gallery/backups", json={"name": "b"}), 409, "backup_impossible", "b")
        catalogue.gate.set()
        assert (await first).status_code == 201
        require_problem(await client.post("/gallery/backups", json={"name": "b"}), 409, "backup_impossible", "b")
        assert [backup["name"] for backup in (await client.get("/gallery/backups")).json()] == ["b"]
    assert [path.name for path in (tmp_path / "backups").iterdir()] == ["b"]


async def test_a_backup_that_fails_leaves_nothing_and_can_be_made_again(tmp_path: Path) -> None:
    catalogue = _SlowBackups()
    catalogue.gate.set()
    async with _service(tmp_path, catalogue) as client:
        catalogue.broken = True
        require_problem(await client.post("/gallery/backups", json={"name": "b"}), 503, "store_unavailable")
        assert list((tmp_path / "backups").iterdir()) == []
        catalogue.broken = False
        assert (await client.post("/gallery/backups", json={"name": "b"})).status_code == 201


async def test_a_backup_that_cannot_be_written_is_refused_by_its_reason(tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    async with _service(tmp_path, MemoryGalleryCatalogue()) as client:
        answer = await client.post("/gallery/backups", json={"name": "b"})
        require_problem(answer, 409, "backup_impossible", "b")
        assert "Not a directory" in answer.json()["detail"]
