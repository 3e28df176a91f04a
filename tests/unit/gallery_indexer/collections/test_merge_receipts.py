from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aff_shared.errors import GalleryMissingError, ImageError, StoreUnavailableError
from aff_shared.schemas.indexing import Receipt
from aff_shared.schemas.problem import problem_of
from gallery_indexer.indexing.index_gallery import merge_receipts

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _receipt(index: int, status: str) -> Receipt:
    error = problem_of(ImageError("no")) if status == "rejected" else None
    return Receipt(index=index, id=str(index), status=status, error=error)  # type: ignore[arg-type]


async def _stream(*given: tuple[int, str], gate: asyncio.Event | None = None) -> AsyncGenerator[Receipt, None]:
    for index, status in given:
        yield _receipt(index, status)
        if gate is not None:
            await gate.wait()


@pytest.mark.parametrize(
    ("live", "other", "expected"),
    [
        ("indexed", "indexed", "indexed"),
        ("duplicate", "duplicate", "duplicate"),
        ("duplicate", "indexed", "indexed"),
        ("updated", "indexed", "updated"),
        ("indexed", "duplicate", "indexed"),
        ("rejected", "indexed", "rejected"),
        ("duplicate", "rejected", "rejected"),
    ],
)
async def test_a_receipt_merges_the_statuses_of_all_collections(live: str, other: str, expected: str) -> None:
    (receipt,) = [one async for one in merge_receipts([_stream((0, live)), _stream((0, other))])]
    assert receipt.status == expected


async def test_a_receipt_is_yielded_when_every_collection_has_the_image() -> None:
    gate = asyncio.Event()
    merged = merge_receipts(
        [_stream((0, "indexed"), (1, "indexed")), _stream((1, "indexed"), (0, "indexed"), gate=gate)]
    )
    assert (await anext(merged)).index == 1
    second = asyncio.create_task(anext(merged))
    await asyncio.sleep(0.02)
    assert not second.done()
    gate.set()
    assert (await second).index == 0


async def test_the_error_of_a_stream_is_raised_and_the_others_are_closed() -> None:
    closed = asyncio.Event()

    async def failing() -> AsyncGenerator[Receipt, None]:
        yield _receipt(0, "indexed")
        raise StoreUnavailableError("away")

    async def endless() -> AsyncGenerator[Receipt, None]:
        try:
            yield _receipt(0, "indexed")
            await asyncio.sleep(3600)
        finally:
            closed.set()

    with pytest.raises(StoreUnavailableError):
        async for _ in merge_receipts([endless(), failing()]):
            pass
    assert closed.is_set()


async def _dropped(*given: tuple[int, str]) -> AsyncGenerator[Receipt, None]:
    for index, status in given:
        yield _receipt(index, status)
    raise GalleryMissingError("dropped")


@pytest.mark.parametrize("first_is_dropped", [True, False])
async def test_a_collection_that_is_dropped_meanwhile_no_longer_counts(first_is_dropped: bool) -> None:
    streams = [_stream((0, "indexed"), (1, "indexed"), (2, "indexed")), _dropped((1, "indexed"))]
    receipts = [one async for one in merge_receipts(streams[::-1] if first_is_dropped else streams)]
    assert sorted(receipt.index for receipt in receipts) == [0, 1, 2]


async def test_a_request_fails_if_all_collections_were_dropped() -> None:
    with pytest.raises(GalleryMissingError):
        async for _ in merge_receipts([_dropped((0, "indexed")), _dropped()]):
            pass
