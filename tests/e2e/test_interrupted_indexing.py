"""Kill the process during indexing, start again, index again: nothing lost, nothing double.

`test_killed_indexing.py` kills often and at random moments, without a service.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from aff_client import ServiceUnreachableError
from aff_client.index_client import IndexerClient
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.sources import source_items
from aff_toolkit.local.local_service import local_services
from tests.support.images import jpeg_bytes
from tests.support.tiny_bundle import TINY_BUNDLE

PHOTOGRAPHS, BEFORE = 60, 30


@contextmanager
def serving(gallery: Path) -> Iterator[tuple[subprocess.Popen[bytes], IndexerClient]]:
    log_path = gallery.with_suffix(".log")
    with (
        local_services(TINY_BUNDLE, gallery, log_path) as services,
        IndexerClient(services.indexer_url) as client,
    ):
        yield services.process, client


def write_photographs(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        blocks = rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        (folder / f"{number:03d}.jpg").write_bytes(jpeg_bytes(blocks.repeat(20, 0).repeat(20, 1)))


def index(client: IndexerClient, folder: Path) -> IndexingSummary:
    options = IndexingOptions(give_up_after_s=0.0)
    with IndexingRecord() as record:
        index_items(client, source_items(str(folder)), record, options, lambda _: None)
    return record.summary


def index_until_killed(process: subprocess.Popen[bytes], client: IndexerClient, folder: Path) -> None:
    def kill_when_some_are_there() -> None:
        with IndexerClient(client.url) as watcher, suppress(ServiceUnreachableError):
            while watcher.gallery().count < BEFORE:
                time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_when_some_are_there)
    killer.start()
    with suppress(ServiceUnreachableError):
        index(client, folder)
    killer.join()


async def stored_ids(gallery: Path) -> list[str]:
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    try:
        (collection,) = await catalogue.collections()
        page = await (await catalogue.collection(collection.space)).scroll(limit=10 * PHOTOGRAPHS)
        return sorted(point.record.item_id for point in page.points)
    finally:
        await catalogue.close()


@pytest.mark.anyio
async def test_an_indexing_run_that_was_killed_ends_with_every_photograph_once(tmp_path: Path) -> None:
    folder, gallery = tmp_path / "photographs", tmp_path / "gallery"
    write_photographs(folder)
    with serving(gallery) as (process, client):
        index_until_killed(process, client, folder)
    with serving(gallery) as (_, client):
        before = client.gallery().count
        summary = index(client, folder)
        assert client.gallery().count == PHOTOGRAPHS
    assert before >= BEFORE
    assert summary.duplicate == before
    assert summary.indexed == PHOTOGRAPHS - before
    assert await stored_ids(gallery) == [f"{number:03d}.jpg" for number in range(PHOTOGRAPHS)]
