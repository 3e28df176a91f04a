"""Images of a source go to a real gallery indexer."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from aff_client import ForeignAnswerError, ServiceError, ServiceUnreachableError, index_calls
from aff_client.index_client import IndexerClient
from aff_shared.schemas.indexing import IndexSummary
from aff_toolkit.indexing.index_items import IndexingOptions, index_items
from aff_toolkit.indexing.indexing_record import IndexingRecord, IndexingSummary
from aff_toolkit.indexing.source_item import SourceError, SourceItem
from aff_toolkit.indexing.sources import source_items
from aff_toolkit.local.local_service import LocalServices
from tests.support.images import png_bytes
from tests.support.plain_photograph import plain_png
from tests.unit.conftest import MAX_BODY_BYTES


@pytest.fixture(scope="module")
def indexer(services: LocalServices) -> Iterator[IndexerClient]:
    with IndexerClient(services.indexer_url) as client:
        yield client


def fill(folder: Path, prefix: str, count: int) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        (folder / f"{prefix}-{i:02d}.png").write_bytes(plain_png((i, 2 * i, 3 * i)))
    return folder


def sent(indexer: IndexerClient, folder: Path, *, trust_ids: bool = False) -> tuple[IndexingSummary, list[int]]:
    return index(indexer, source_items(str(folder)), IndexingOptions(trust_ids=trust_ids))


def index(
    indexer: IndexerClient, items: Iterator[SourceItem], options: IndexingOptions
) -> tuple[IndexingSummary, list[int]]:
    done: list[int] = []
    with IndexingRecord() as record:
        index_items(indexer, items, record, options, done.append)
    return record.summary, done


def counts(summary: IndexingSummary) -> IndexSummary:
    return IndexSummary(
        indexed=summary.indexed, updated=summary.updated, duplicate=summary.duplicate, rejected=summary.failed
    )


def became(**given: int) -> IndexSummary:
    return IndexSummary(**{"indexed": 0, "updated": 0, "duplicate": 0, "rejected": 0, **given})


class CountingClient(IndexerClient):
    """Counts the images that are sent."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.sent: list[str] = []

    def index(self, uploads):  # type: ignore[no-untyped-def]
        self.sent += [upload.id for upload in uploads]
        return super().index(uploads)


def test_more_images_than_a_batch_are_all_indexed_and_are_not_sent_a_second_time(
    services: LocalServices, tmp_path: Path
) -> None:
    folder = fill(tmp_path, "batches", 70)
    with CountingClient(services.indexer_url) as client:
        first, done = sent(client, folder)
        assert counts(first) == became(indexed=70)
        assert (first.images, sorted(done)) == (70, [6, 32, 32])
        second, _ = sent(client, folder)
        assert counts(second) == became(duplicate=70)
        assert len(client.sent) == 70


def test_a_changed_photograph_and_a_changed_payload_are_updated(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path, "changed", 3)
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,city\n" + "".join(f"changed-{i:02d}.png,Paris\n" for i in range(3)))
    assert counts(sent(indexer, manifest)[0]) == became(indexed=3)
    (folder / "changed-01.png").write_bytes(plain_png((200, 0, 0)))
    manifest.write_text(manifest.read_text().replace("02.png,Paris", "02.png,Rome"))
    assert counts(sent(indexer, manifest)[0]) == became(updated=2, duplicate=1)


def test_an_id_that_is_trusted_is_not_read(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path, "trusted", 2)
    sent(indexer, folder)
    (folder / "trusted-00.png").write_bytes(plain_png((200, 0, 0)))
    assert counts(sent(indexer, folder, trust_ids=True)[0]) == became(duplicate=2)
    assert counts(sent(indexer, folder)[0]) == became(updated=1, duplicate=1)


def test_a_broken_photograph_is_listed_and_the_others_are_indexed(indexer: IndexerClient, tmp_path: Path) -> None:
    folder = fill(tmp_path / "photos", "whole", 3)
    (folder / "broken.png").write_bytes(plain_png((1, 2, 3))[:60])
    with IndexingRecord(tmp_path / "failures.csv") as record:
        index_items(indexer, source_items(str(folder)), record, IndexingOptions(), lambda _: None)
    assert counts(record.summary) == became(indexed=3, rejected=1)
    assert record.summary.failures["broken.png"].status == 422
    with (tmp_path / "failures.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["id"], row["source"], row["code"]) == ("broken.png", str(folder / "broken.png"), "image_truncated")


def test_a_file_above_the_services_limit_is_listed_and_the_others_are_indexed(
    indexer: IndexerClient, tmp_path: Path
) -> None:
    folder = fill(tmp_path, "small", 3)
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    (folder / "large.png").write_bytes(png_bytes(noise))
    assert (folder / "large.png").stat().st_size > MAX_BODY_BYTES
    summary, done = sent(indexer, folder)
    assert counts(summary) == became(indexed=3, rejected=1)
    assert summary.failures["large.png"].code == "body_too_large"
    assert sum(done) == 4


def test_what_a_proxy_before_the_indexer_finds_too_large_is_listed_and_the_others_are_indexed(
    services: LocalServices, tmp_path: Path
) -> None:
    folder = fill(tmp_path, "proxied", 5)
    noise = np.random.default_rng(1).integers(0, 256, (90, 90, 3), np.uint8)
    (folder / "large.png").write_bytes(png_bytes(noise))
    most = (folder / "large.png").stat().st_size - 1

    class BehindProxy(IndexerClient):
        def index(self, uploads):  # type: ignore[no-untyped-def]
            if sum(len(upload.data) for upload in uploads) > most:
                raise ForeignAnswerError(httpx.Response(413, html="<html>too large</html>"), self.url)
            return super().index(uploads)

    with BehindProxy(services.indexer_url) as client:
        summary, done = sent(client, folder)
        assert counts(summary) == became(indexed=5, rejected=1)
        assert (summary.failures["large.png"].status, sum(done)) == (413, 6)
        assert "answers 413" in summary.failures["large.png"].detail
        assert counts(sent(client, folder, trust_ids=True)[0]) == became(duplicate=5, rejected=1)


def test_payloads_that_a_proxy_finds_too_large_to_be_looked_up_are_sent(services: LocalServices) -> None:
    class BehindProxy(IndexerClient):
        def lookup(self, images):  # type: ignore[no-untyped-def]
            if len(images) > 1 or images[0].id == "looked-up/0":
                raise ForeignAnswerError(httpx.Response(413, html="<html>too large</html>"), self.url)
            return super().lookup(images)

    items = [SourceItem(f"looked-up/{i}", f"{i}", lambda i=i: plain_png((i, 9, 99))) for i in range(3)]  # type: ignore[misc]
    with BehindProxy(services.indexer_url) as client:
        assert counts(index(client, iter(items), IndexingOptions())[0]) == became(indexed=3)
        assert counts(index(client, iter(items), IndexingOptions())[0]) == became(duplicate=3)


def test_a_page_in_the_indexers_place_ends_the_run_at_once(services: LocalServices, tmp_path: Path) -> None:
    class LoggedOut(IndexerClient):
        def lookup(self, images):  # type: ignore[no-untyped-def] # noqa: ARG002
            raise ForeignAnswerError(httpx.Response(200, html="<html>log in</html>"), self.url)

    began = time.monotonic()
    with LoggedOut(services.indexer_url) as client, pytest.raises(ForeignAnswerError, match="answers 200"):
        sent(client, fill(tmp_path, "page", 1))
    assert time.monotonic() - began < 5


def test_a_request_holds_no_more_bytes_than_its_limit(
    services: LocalServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path, "bytes", 5)
    size = (folder / "bytes-00.png").stat().st_size
    monkeypatch.setattr(index_calls, "_BATCH_BYTES", 2 * size + size // 2)
    requests: list[int] = []

    class Recording(IndexerClient):
        def index(self, uploads):  # type: ignore[no-untyped-def]
            requests.append(len(uploads))
            return super().index(uploads)

    with Recording(services.indexer_url) as client:
        summary, _ = sent(client, folder)
    assert counts(summary) == became(indexed=5)
    assert requests == [2, 2, 1]


def test_a_file_that_cannot_be_read_is_listed(indexer: IndexerClient, tmp_path: Path) -> None:
    items = list(source_items(str(fill(tmp_path, "gone", 2))))
    (tmp_path / "gone-00.png").unlink()
    summary, _ = index(indexer, iter(items), IndexingOptions())
    assert counts(summary) == became(indexed=1, rejected=1)
    assert "cannot be read" in summary.failures["gone-00.png"].detail


def test_a_source_that_breaks_off_ends_the_run_and_what_was_sent_stays(indexer: IndexerClient) -> None:
    def items() -> Iterator[SourceItem]:
        for i in range(32):
            yield SourceItem(f"broken-off/{i}", f"{i}", lambda i=i: plain_png((i, i, 200)))  # type: ignore[misc]
        raise SourceError("the shard ends here", item="shard.tar")

    with pytest.raises(SourceError, match="the shard ends here"):
        index(indexer, items(), IndexingOptions())
    again = (SourceItem(f"broken-off/{i}", f"{i}", lambda i=i: plain_png((i, i, 200))) for i in range(32))  # type: ignore[misc]
    assert counts(index(indexer, again, IndexingOptions())[0]) == became(duplicate=32)


def test_a_rejection_for_another_reason_ends_the_run(services: LocalServices, tmp_path: Path) -> None:
    folder = fill(tmp_path, "elsewhere", 1)
    with IndexerClient(services.query_url) as not_an_indexer, pytest.raises(ServiceError):
        sent(not_an_indexer, folder)


def test_an_indexer_that_stays_unavailable_ends_the_run(tmp_path: Path) -> None:
    folder = fill(tmp_path, "away", 1)
    options = IndexingOptions(give_up_after_s=0.1)
    with IndexerClient("http://127.0.0.1:9") as away, pytest.raises(ServiceUnreachableError):
        index(away, source_items(str(folder)), options)


def test_a_file_name_that_cannot_be_an_id_costs_no_other_file_its_place(indexer: IndexerClient, tmp_path: Path) -> None:
    fill(tmp_path, "good", 3)
    deep = tmp_path.joinpath(*["folder" * 40] * 3)
    deep.mkdir(parents=True)
    (deep / "bad.png").write_bytes(plain_png((9, 8, 7)))  # an id of more than 512 characters
    summary, _ = sent(indexer, tmp_path)
    assert summary.indexed + summary.duplicate + summary.updated == 3
    assert [name.rpartition("/")[2] for name in summary.failures] == ["bad.png"]


def test_an_interrupt_lets_the_requests_on_their_way_end_and_is_noted(services: LocalServices) -> None:
    def items() -> Iterator[SourceItem]:
        for i in range(64):
            yield SourceItem(f"interrupted/{i}", f"{i}", lambda i=i: plain_png((i, 7, 7)))  # type: ignore[misc]
        raise KeyboardInterrupt

    with IndexerClient(services.indexer_url) as client:
        summary, done = index(client, items(), IndexingOptions(concurrency=4))
    assert summary.interrupted
    assert counts(summary) == became(indexed=64)
    assert sum(done) == 64


def test_images_in_memory_are_no_more_than_the_batches_on_their_way(services: LocalServices) -> None:
    alive, most = 0, 0

    class Counted(IndexerClient):
        def index(self, uploads):  # type: ignore[no-untyped-def]
            nonlocal alive
            answer = super().index(uploads)
            alive -= len(uploads)
            return answer

    def items() -> Iterator[SourceItem]:
        nonlocal alive, most
        for i in range(320):
            alive += 1
            most = max(most, alive)
            yield SourceItem(f"bounded/{i}", f"{i}", lambda i=i: plain_png((i % 256, i // 256, 90)))  # type: ignore[misc]

    with Counted(services.indexer_url) as client:
        summary, _ = index(client, items(), IndexingOptions(concurrency=2))
    assert counts(summary) == became(indexed=320)
    assert most <= 3 * 32
