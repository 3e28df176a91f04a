"""Remixing a gallery with the extractors and mixers of a real bundle."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from aff_shared.bundles.bundle import load_manifest
from aff_shared.bundles.bundle_repository import BundleRepository
from aff_shared.errors import RemixError
from aff_shared.schemas.gallery import FusedCollection, GalleryJob
from aff_shared.schemas.indexing import IndexItem
from aff_shared.store.gallery_store import GalleryPoint
from gallery_indexer.collections.collection_runtime import CollectionRuntime, load_bundle
from gallery_indexer.collections.gallery_jobs import GalleryJobs
from gallery_indexer.collections.index_collections import IndexCollections
from gallery_indexer.collections.remix_gallery import RemixGallery
from gallery_indexer.features.feature_cache import FeatureCache
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.settings import IndexerSettings
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.images import jpeg_bytes
from tests.support.memory_gallery_catalogue import MemoryGalleryCatalogue
from tests.support.other_mixer import write_other_mixer
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class _Gallery:
    catalogue: MemoryGalleryCatalogue
    collections: IndexCollections
    remixing: RemixGallery
    jobs: GalleryJobs
    bundles: BundleRepository

    async def points(self, name: str) -> dict[str, GalleryPoint]:
        store = await self.catalogue.collection(load_manifest(self.bundles.named(name)).space)
        return {point.record.item_id: point for point in (await store.scroll(limit=100)).points}

    async def fuse(self, name: str) -> tuple[GalleryJob, FusedCollection]:
        """Return the job after it ended, with its result."""
        started = await self.jobs.start("remix", name, lambda: self.remixing.prepare(name))
        ended = await self.jobs.ended(started.id)
        assert isinstance(ended.result, FusedCollection)
        return ended, ended.result


@asynccontextmanager
async def _gallery(root: Path, *, keep: bool = True) -> AsyncIterator[_Gallery]:
    write_other_mixer(TINY_BUNDLE, root / "bundles" / "old", name="old")
    write_other_mixer(root / "bundles" / "old", root / "bundles" / "new", name="new")
    catalogue, metrics = MemoryGalleryCatalogue(), IndexMetrics(CollectorRegistry())
    settings, bundles = IndexerSettings(), BundleRepository(root / "bundles" / "old")
    tokens = FeatureCache(root / "tokens", shard_images=4) if keep else None

    async def open_collection(path: Path) -> CollectionRuntime:
        loaded = await load_bundle(path, settings, GalleryEncoder.load)
        return await CollectionRuntime.open(loaded, catalogue, settings, metrics, tokens)

    first = await open_collection(bundles.default)
    collections = IndexCollections(
        catalogue, bundles, first, open_collection, metrics, interval_s=0.0, store_wait_s=0.0
    )
    jobs = GalleryJobs()
    yield _Gallery(catalogue, collections, RemixGallery(collections, tokens), jobs, bundles)
    await jobs.close()
    await collections.close()
    if tokens is not None:
        tokens.close()


def _images(*numbers: int) -> list[UploadedImage]:
    images = []
    for number in numbers:
        blocks = np.random.default_rng(number).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        data = jpeg_bytes(blocks.repeat(40, 0).repeat(40, 1))
        images.append(UploadedImage(data=data, item=IndexItem(id=f"{number}", payload={"n": number})))
    return images


async def test_a_remixed_gallery_equals_one_indexed_from_the_images(tmp_path: Path) -> None:
    async with _gallery(tmp_path) as gallery:
        await gallery.collections.index(_images(*range(10)))
        job, fused_collection = await gallery.fuse("new")
        assert (job.state, job.done, job.total, fused_collection.missing) == ("finished", 10, 10, 0)
        fused, old = await gallery.points("new"), await gallery.points("old")
        store = await gallery.catalogue.collection(load_manifest(gallery.bundles.named("new")).space)
        await store.delete(list(fused))
        await gallery.collections.index(_images(*range(10)))
        for item_id, point in (await gallery.points("new")).items():
            assert float(fused[item_id].embedding @ point.embedding) > 0.9999  # float16 tokens against float32
            assert float(fused[item_id].embedding @ old[item_id].embedding) < 0.999
            assert fused[item_id].record.payload == point.record.payload
            assert fused[item_id].record.extractors == point.record.extractors


async def test_images_without_features_are_listed_and_existing_ones_are_kept(tmp_path: Path) -> None:
    async with _gallery(tmp_path) as gallery:
        await gallery.collections.index(_images(0, 1, 2))
        live = (await gallery.collections.live()).store
        stranger = (await live.fetch(["0"]))["0"]
        record = replace(stranger.record, item_id="x", content_sha256="f" * 64)
        await live.upsert([GalleryPoint(record, stranger.embedding)])
        for _ in range(2):
            job, fused = await gallery.fuse("new")
            assert (job.state, fused.missing, fused.missing_ids) == ("finished", 1, ["x"])
        written = await gallery.points("new")
        assert sorted(written) == ["0", "1", "2"]


async def test_a_bundle_that_cannot_be_remixed_is_rejected_and_no_collection_is_created(tmp_path: Path) -> None:
    async with _gallery(tmp_path) as gallery:
        (tmp_path / "bundles" / "others").mkdir()
        write_dummy_bundle(tmp_path / "bundles" / "others", dimension=128)
        await gallery.collections.index(_images(0))
        with pytest.raises(RemixError, match="other extractors"):
            await gallery.fuse("others")
        assert len(await gallery.catalogue.collections()) == 1
        assert gallery.jobs.jobs() == []


async def test_a_job_with_an_unexpected_error_fails_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("shapes do not fit")

    async with _gallery(tmp_path) as gallery:
        await gallery.collections.index(_images(0, 1))
        with monkeypatch.context() as patch:
            patch.setattr(GalleryEncoder, "fuse", broken)
            job, _ = await gallery.fuse("new")
        assert job.state == "failed"
        assert "shapes do not fit" in caplog.text
        assert (await gallery.fuse("new"))[0].state == "finished"


async def test_a_remix_without_cached_features_is_rejected(tmp_path: Path) -> None:
    async with _gallery(tmp_path, keep=False) as gallery:
        await gallery.collections.index(_images(0))
        with pytest.raises(RemixError, match="AFF_INDEX_KEPT_TOKENS_PATH"):
            await gallery.fuse("new")
