from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from aff_shared.errors import StoreDamagedError, StoreLockedError, StoreRejectedError, StoreUnavailableError
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_point, make_points, make_space, unit

pytestmark = pytest.mark.anyio

SPACE = make_space()

WRITE_THEN_DIE = """
import asyncio, os, signal, sys
from pathlib import Path
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_points, make_space

async def main():
    store = await QdrantEdgeStore.open(Path(sys.argv[1]), StoreSettings(url=""))
    await store.create(make_space())
    await store.upsert(make_points(300))
    await store.delete(["item-7"])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

DIE_IN_CREATE = """
import asyncio, os, signal, sys
from pathlib import Path
from aff_shared.store.embedded.directory import EdgeDirectory
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings
from tests.support.gallery_points import make_space

EdgeDirectory.adopt = lambda *_: os.kill(os.getpid(), signal.SIGKILL)

async def main():
    store = await QdrantEdgeStore.open(Path(sys.argv[1]), StoreSettings(url=""))
    await store.create(make_space())

asyncio.run(main())
"""

OPEN_AND_COUNT = """
import asyncio, sys
from pathlib import Path
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.settings import StoreSettings

async def main():
    store = await QdrantEdgeStore.open(Path(sys.argv[1]), StoreSettings(url=""))
    print(await store.count())

asyncio.run(main())
"""


def _python(program: str, directory: Path) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[5]
    return subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=root,
    )


async def _open(directory: Path) -> QdrantEdgeStore:
    return await QdrantEdgeStore.open(directory, StoreSettings(url=""))


def _shards(directory: Path) -> list[Path]:
    return list(directory.glob("shard-*"))


async def test_settings_without_an_address_open_the_embedded_store(tmp_path: Path) -> None:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=tmp_path / "deep" / "gallery"))
    assert catalogue.name == "qdrant_edge"
    await catalogue.close()


async def test_a_gallery_outlives_its_store(tmp_path: Path) -> None:
    first = await _open(tmp_path)
    await first.create(SPACE)
    await first.upsert(make_points(5))
    await first.close()
    second = await _open(tmp_path)
    assert await second.space() == SPACE
    assert set(await second.fetch(["item-0", "item-4"])) == {"item-0", "item-4"}
    assert await second.count() == 5
    await second.close()


async def test_a_finished_write_survives_the_death_of_the_process(tmp_path: Path) -> None:
    assert _python(WRITE_THEN_DIE, tmp_path).returncode == -9
    store = await _open(tmp_path)
    assert await store.count() == 299
    for point in make_points(300)[:7]:
        found = (await store.fetch([point.record.item_id]))[point.record.item_id]
        assert found.record == point.record
        np.testing.assert_allclose(found.embedding, point.embedding, atol=1e-6)
    await store.close()


async def test_a_creation_that_was_killed_halfway_can_be_repeated(tmp_path: Path) -> None:
    assert _python(DIE_IN_CREATE, tmp_path).returncode == -9
    assert len(_shards(tmp_path)) == 1
    store = await _open(tmp_path)
    assert _shards(tmp_path) == []
    await store.create(SPACE)
    await store.upsert(make_points(2))
    assert await store.count() == 2
    await store.close()


async def test_another_process_reports_that_the_gallery_is_open_elsewhere(tmp_path: Path) -> None:
    store = await _open(tmp_path)
    await store.create(SPACE)
    other = _python(OPEN_AND_COUNT, tmp_path)
    assert other.returncode == 1
    assert "StoreLockedError" in other.stderr
    assert "is open in another process" in other.stderr
    await store.close()
    assert _python(OPEN_AND_COUNT, tmp_path).stdout == "0\n"


async def test_the_same_process_cannot_open_a_gallery_twice(tmp_path: Path) -> None:
    store = await _open(tmp_path)
    with pytest.raises(StoreLockedError):
        await _open(tmp_path)
    await store.close()


async def test_a_directory_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailableError, match="cannot open the gallery directory"):
        await _open(tmp_path / "file")


async def test_a_damaged_manifest_is_reported_and_the_lock_released(tmp_path: Path) -> None:
    (tmp_path / "gallery.json").write_text("{}")
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match=r"gallery\.json"):
            await _open(tmp_path)


async def test_a_missing_shard_is_reported_and_the_lock_released(tmp_path: Path) -> None:
    store = await _open(tmp_path)
    await store.create(SPACE)
    await store.close()
    _shards(tmp_path)[0].rename(tmp_path / "elsewhere")
    for _ in range(2):
        with pytest.raises(StoreDamagedError, match="are damaged"):
            await _open(tmp_path)


async def test_what_the_engine_rejects_is_a_rejection_and_spoils_nothing(tmp_path: Path) -> None:
    store = await _open(tmp_path)
    await store.create(SPACE)
    with pytest.raises(StoreRejectedError, match="expected dim: 8, got 3"):
        await store.upsert([make_point("a", unit([1, 2, 3]))])
    with pytest.raises(StoreRejectedError):
        await store.scroll(limit=1, cursor="no point id")
    await store.upsert(make_points(3))
    await store.close()
    again = await _open(tmp_path)
    assert await again.count() == 3
    await again.close()


async def test_a_search_waits_for_earlier_writes_and_needs_no_other_thread_without_them(tmp_path: Path) -> None:
    store = await _open(tmp_path)
    await store.create(SPACE)
    await store.close()
    store = await _open(tmp_path)
    (written,) = make_points(1)

    nothing = await store.search(written.embedding, limit=1)
    threads = [thread.name for thread in threading.enumerate()]
    _, found = await asyncio.gather(store.upsert([written]), store.search(written.embedding, limit=1))
    await store.close()

    assert nothing == []
    assert not any(name.startswith(store.name) for name in threads)
    assert [hit.record.item_id for hit in found] == ["item-0"]
