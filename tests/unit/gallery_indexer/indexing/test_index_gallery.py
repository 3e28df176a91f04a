from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from aff_shared.errors import EmbeddingSpaceMismatchError, GalleryMissingError, ImageError, StoreUnavailableError
from aff_shared.images.decoding import ImageLimits
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexItem, Receipt
from aff_shared.schemas.problem import problem_of
from aff_shared.store.gallery_store import GalleryStore
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput, ImageFeatures, Tokens
from gallery_indexer.indexing.index_gallery import IndexGallery, merge_receipts
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline, KeepFeatures
from gallery_indexer.indexing.payload_limits import PayloadLimits
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.interruptible_gallery_store import InterruptibleGalleryStore
from tests.support.memory_gallery_store import MemoryGalleryStore
from tests.support.plain_photograph import plain_png

SPACE = EmbeddingSpace(id="a" * 64, dimension=4)
RED, GREEN, BLUE = plain_png((255, 0, 0)), plain_png((0, 255, 0)), plain_png((0, 0, 255))
BLACK = plain_png((0, 0, 0))
GREEN_COLOUR = (0, 255, 0)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextmanager
def _index_gallery(
    store: GalleryStore,
    encoder: FakeGalleryEncoder,
    *,
    batch_size: int = 8,
    store_wait_s: float = 0.0,
    registry: CollectorRegistry | None = None,
    keep_features: KeepFeatures | None = None,
) -> Iterator[IndexGallery]:
    metrics = IndexMetrics(registry or CollectorRegistry())
    pipeline = IndexingPipeline(
        encoder,
        store,
        ImageLimits(),
        metrics,
        batch_size=batch_size,
        batch_wait_s=1.0,
        decode_workers=2,
        decode_timeout_s=60.0,
        store_wait_s=store_wait_s,
        keep_features=keep_features,
    )
    with closing(pipeline):
        yield IndexGallery(
            store,
            SPACE,
            pipeline,
            metrics,
            PayloadLimits(100, {"year": "integer"}),
            ["eye"],
            store_wait_s=store_wait_s,
        )


async def _index(index_gallery: IndexGallery, images: Sequence[UploadedImage]) -> list[Receipt]:
    """Return the receipts in the images' order."""
    return sorted([receipt async for receipt in index_gallery.receipts(images)], key=lambda receipt: receipt.index)


def _image(
    data: bytes | ImageError,
    item_id: str | None = None,
    payload: dict[str, Any] | None = None,
    name: str | None = None,
) -> UploadedImage:
    return UploadedImage(data=data, name=name, item=IndexItem(id=item_id, payload=payload))


def _statuses(receipts: Sequence[Receipt]) -> list[str]:
    return [receipt.status for receipt in receipts]


def _codes(receipts: Sequence[Receipt]) -> list[str | None]:
    return [receipt.error.code if receipt.error else None for receipt in receipts]


async def _payload(store: GalleryStore, item_id: str) -> dict[str, Any]:
    return (await store.fetch([item_id]))[item_id].record.payload


async def test_a_new_image_is_indexed_with_its_record_and_embedding() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        receipts = await _index(index_gallery, [_image(RED, "red", {"colour": "red"}, "red.png")])
    assert receipts == [
        Receipt(index=0, id="red", name="red.png", status="indexed", extractors=("eye",), found_nothing=())
    ]
    point = (await store.fetch(["red"]))["red"]
    assert point.record.content_sha256 == hashlib.sha256(RED).hexdigest()
    assert (point.record.width, point.record.height) == (32, 24)
    assert point.record.payload == {"colour": "red"}
    assert point.record.extractors == ("eye",)
    assert point.record.indexed_at.tzinfo is not None
    half = 0.5**0.5
    np.testing.assert_allclose(point.embedding, [half, 0, 0, half], atol=1e-6)


async def test_an_image_without_an_id_has_the_hash_of_its_content_as_id() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        (receipt,) = await _index(index_gallery, [_image(RED)])
    assert receipt.id == hashlib.sha256(RED).hexdigest()


async def test_a_repeated_image_is_a_duplicate_and_is_not_embedded() -> None:
    encoder = FakeGalleryEncoder()
    images = [_image(RED, "red", {"a": 1}), _image(BLUE)]
    with _index_gallery(MemoryGalleryStore(SPACE), encoder) as index_gallery:
        await _index(index_gallery, images)
        receipts = await _index(index_gallery, images)
    assert _statuses(receipts) == ["duplicate", "duplicate"]
    assert encoder.batch_sizes == [2]


async def test_receipts_and_records_list_the_extractors_that_found_something() -> None:
    store, images = MemoryGalleryStore(SPACE), [_image(RED, "red"), _image(BLACK, "black"), _image(b"", "broken")]
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        new = await _index(index_gallery, images)
        again = await _index(index_gallery, [_image(RED, "red"), _image(BLACK, "black", {"a": 1})])
        replaced = await _index(index_gallery, [_image(BLACK, "red")])
    assert [receipt.extractors for receipt in new] == [("eye",), (), None]
    assert [receipt.found_nothing for receipt in new] == [(), ("eye",), None]
    assert _statuses(again) == ["duplicate", "updated"]
    assert [receipt.extractors for receipt in again] == [("eye",), ()]
    assert [receipt.extractors for receipt in replaced] == [()]
    assert [receipt.found_nothing for receipt in [*again, *replaced]] == [(), ("eye",), ("eye",)]
    assert {item_id: point.record.extractors for item_id, point in (await store.fetch(["red", "black"])).items()} == {
        "red": (),
        "black": (),
    }


async def test_an_image_of_an_earlier_release_is_a_duplicate_with_unknown_extractors() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        await _index(index_gallery, [_image(RED, "red")])
        point = (await store.fetch(["red"]))["red"]
        await store.upsert([replace(point, record=replace(point.record, extractors=None))])
        (receipt,) = await _index(index_gallery, [_image(RED, "red")])
    assert (receipt.status, receipt.extractors, receipt.found_nothing) == ("duplicate", None, None)


async def test_another_payload_is_an_update_without_embedding() -> None:
    store = MemoryGalleryStore(SPACE)
    encoder = FakeGalleryEncoder()
    with _index_gallery(store, encoder) as index_gallery:
        await _index(index_gallery, [_image(RED, "red", {"a": 1})])
        before = (await store.fetch(["red"]))["red"]
        receipts = await _index(index_gallery, [_image(RED, "red", {"a": True})])
    after = (await store.fetch(["red"]))["red"]
    assert _statuses(receipts) == ["updated"]
    assert after.record.payload == {"a": True}
    assert after.record.indexed_at == before.record.indexed_at
    np.testing.assert_array_equal(after.embedding, before.embedding)
    assert encoder.batch_sizes == [1]


async def test_an_image_sent_without_a_payload_keeps_the_one_it_has() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        await _index(index_gallery, [_image(RED, "photo", {"a": 1})])
        same_content = await _index(index_gallery, [_image(RED, "photo")])
        other_content = await _index(index_gallery, [_image(BLUE, "photo")])
    assert _statuses([*same_content, *other_content]) == ["duplicate", "updated"]
    assert await _payload(store, "photo") == {"a": 1}


async def test_an_empty_payload_replaces_the_stored_one() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        await _index(index_gallery, [_image(RED, "red", {"a": 1})])
        receipts = await _index(index_gallery, [_image(RED, "red", {})])
    assert _statuses(receipts) == ["updated"]
    assert await _payload(store, "red") == {}


async def test_other_content_under_the_same_id_is_embedded_again() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        await _index(index_gallery, [_image(RED, "photo")])
        receipts = await _index(index_gallery, [_image(BLUE, "photo")])
    point = (await store.fetch(["photo"]))["photo"]
    assert _statuses(receipts) == ["updated"]
    assert point.record.content_sha256 == hashlib.sha256(BLUE).hexdigest()
    assert point.embedding[2] > point.embedding[0]
    assert await store.count() == 1


async def test_the_same_image_twice_in_a_request_is_embedded_once() -> None:
    encoder = FakeGalleryEncoder()
    with _index_gallery(MemoryGalleryStore(SPACE), encoder) as index_gallery:
        receipts = await _index(index_gallery, [_image(RED), _image(BLUE), _image(RED)])
    assert _statuses(receipts) == ["indexed", "indexed", "duplicate"]
    assert encoder.batch_sizes == [2]


async def test_the_same_image_twice_with_another_payload_ends_with_the_last_payload() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        receipts = await _index(
            index_gallery, [_image(RED, "red", {"a": 1}), _image(RED, "red"), _image(RED, "red", {"a": 2})]
        )
    assert _statuses(receipts) == ["indexed", "duplicate", "updated"]
    assert await _payload(store, "red") == {"a": 2}


async def test_one_id_with_two_contents_in_a_request_keeps_the_first() -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        receipts = await _index(index_gallery, [_image(RED, "photo"), _image(BLUE, "photo", name="b.png")])
    assert _codes(receipts) == [None, "id_repeated"]
    assert receipts[1].error is not None
    assert receipts[1].error.item == "b.png"
    point = (await store.fetch(["photo"]))["photo"]
    assert point.record.content_sha256 == hashlib.sha256(RED).hexdigest()


async def test_a_repeat_of_an_image_that_is_rejected_is_rejected_too() -> None:
    with _index_gallery(MemoryGalleryStore(SPACE), FakeGalleryEncoder()) as index_gallery:
        receipts = await _index(index_gallery, [_image(b"", "a"), _image(b"", "a")])
    assert _codes(receipts) == ["image_empty", "image_empty"]


async def test_receipts_have_the_positions_of_their_images() -> None:
    encoder = FakeGalleryEncoder(poison=GREEN_COLOUR)
    unreadable = ImageError("not base64", item="unreadable")
    images = [
        _image(b"", "empty"),
        _image(unreadable, "unreadable"),
        _image(GREEN, "poisoned"),
        _image(RED, "known"),
        _image(BLUE, "new"),
        _image(RED, "new"),
        _image(RED, "wordy", {"text": "x" * 100}),
    ]
    with _index_gallery(MemoryGalleryStore(SPACE), encoder) as index_gallery:
        await _index(index_gallery, [_image(RED, "known")])
        receipts = await _index(index_gallery, images)
    assert [receipt.index for receipt in receipts] == list(range(7))
    assert [receipt.id for receipt in receipts] == [image.item.id for image in images]
    assert [*zip(_statuses(receipts), _codes(receipts), strict=True)] == [
        ("rejected", "image_empty"),
        ("rejected", "image_invalid"),
        ("rejected", "encoder_failed"),
        ("duplicate", None),
        ("indexed", None),
        ("rejected", "id_repeated"),
        ("rejected", "items_invalid"),
    ]


class _ImmenseGreen(FakeGalleryEncoder):
    """Returns a value beyond float16 for green photographs."""

    def encode_images(self, prepared: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        encoded = super().encode_images(prepared, with_features=with_features)
        immense = {"eye": Tokens(np.array([[np.inf, 0, 0, 0]], dtype=np.float16))}
        green = [tuple(photograph[0, 0]) == GREEN_COLOUR for (photograph,) in prepared]
        return [replace(one, features=immense) if so else one for one, so in zip(encoded, green, strict=True)]


async def test_an_image_whose_features_cannot_be_stored_is_rejected_alone() -> None:
    kept: list[str] = []
    store = MemoryGalleryStore(SPACE)

    def keep(images: Sequence[tuple[str, ImageFeatures]]) -> None:
        kept.extend(sha256 for sha256, _ in images)

    with _index_gallery(store, _ImmenseGreen(), keep_features=keep) as index_gallery:
        receipts = await _index(index_gallery, [_image(RED, "red"), _image(GREEN, "green"), _image(BLUE, "blue")])
    assert _statuses(receipts) == ["indexed", "rejected", "indexed"]
    assert receipts[1].error is not None
    assert (receipts[1].error.code, receipts[1].error.item) == ("encoder_failed", "green")
    assert "eye beyond float16 (65,504)" in receipts[1].error.detail
    assert sorted(kept) == sorted(hashlib.sha256(data).hexdigest() for data in (RED, BLUE))
    assert sorted(await store.fetch(["red", "green", "blue"])) == ["blue", "red"]


async def test_new_images_are_embedded_in_batches() -> None:
    encoder = FakeGalleryEncoder()
    images = [_image(plain_png((value, 0, 0))) for value in range(7)]
    with _index_gallery(MemoryGalleryStore(SPACE), encoder, batch_size=3) as index_gallery:
        receipts = await _index(index_gallery, images)
    assert _statuses(receipts) == ["indexed"] * 7
    assert sorted(encoder.batch_sizes) == [1, 3, 3]


async def test_a_store_that_fails_midway_loses_and_duplicates_no_image() -> None:
    store = InterruptibleGalleryStore(writes_left=2, space=SPACE)
    images = [_image(plain_png((value, 0, 0))) for value in range(5)]
    with _index_gallery(store, FakeGalleryEncoder(), batch_size=1) as index_gallery:
        with pytest.raises(StoreUnavailableError):
            await _index(index_gallery, images)
        assert await store.count() == 2
        store.writes_left = None
        receipts = await _index(index_gallery, images)
    assert sorted(_statuses(receipts)) == ["duplicate"] * 2 + ["indexed"] * 3
    assert await store.count() == 5


async def test_no_image_is_embedded_for_a_gallery_of_another_space() -> None:
    store = MemoryGalleryStore()
    await store.create(EmbeddingSpace(id="b" * 64, dimension=4))
    encoder = FakeGalleryEncoder()
    with _index_gallery(store, encoder) as index_gallery, pytest.raises(EmbeddingSpaceMismatchError):
        await _index(index_gallery, [_image(RED)])
    assert encoder.batch_sizes == []
    assert await store.count() == 0


@pytest.mark.parametrize("bad", ["", "x" * 513, "line\nbreak"])
async def test_an_image_with_a_malformed_id_is_rejected_alone(bad: str) -> None:
    store = MemoryGalleryStore(SPACE)
    with _index_gallery(store, FakeGalleryEncoder()) as index_gallery:
        receipts = await _index(index_gallery, [_image(RED, bad, name="red.png"), _image(GREEN, "green")])
    assert _statuses(receipts) == ["rejected", "indexed"]
    assert _codes(receipts) == ["items_invalid", None]
    assert receipts[0].error is not None
    assert receipts[0].error.item == "red.png"


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
