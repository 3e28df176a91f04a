"""Indexes photographs into an embedded gallery, as a process that can be killed.

`python -m tests.support.index_photographs GALLERY COUNT`: the live use case and the real store; the encoder is the
honest fake, so that a start takes a second. Prints `ready`, then the id of each image as its receipt arrives.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from contextlib import closing
from pathlib import Path

from prometheus_client import CollectorRegistry

from aff_shared.images.decoding import ImageLimits
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.indexing import IndexItem
from aff_shared.store.gallery_catalogue import open_catalogue
from aff_shared.store.settings import StoreSettings
from gallery_indexer.indexing.index_gallery import IndexGallery
from gallery_indexer.indexing.index_metrics import IndexMetrics
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.indexing.indexing_pipeline import IndexingPipeline
from gallery_indexer.indexing.payload_limits import PayloadLimits
from tests.support.fake_gallery_encoder import FakeGalleryEncoder
from tests.support.plain_photograph import plain_png

SPACE = EmbeddingSpace(id=hashlib.sha256(b"killed").hexdigest(), dimension=FakeGalleryEncoder.dimension)
_REQUEST = 16


def photograph(number: int) -> bytes:
    return plain_png((number % 256, number // 256, 90))


async def index(gallery: Path, count: int) -> None:
    metrics = IndexMetrics(CollectorRegistry())
    catalogue = await open_catalogue(StoreSettings(url="", edge_path=gallery))
    await catalogue.create(SPACE)
    store = await catalogue.collection(SPACE)
    pipeline = IndexingPipeline(
        FakeGalleryEncoder(),
        store,
        ImageLimits(),
        metrics,
        batch_size=8,
        batch_wait_s=0.02,
        decode_workers=2,
        decode_timeout_s=60.0,
        store_wait_s=0.0,
    )
    with closing(pipeline):
        use_case = IndexGallery(store, SPACE, pipeline, metrics, PayloadLimits(100), store_wait_s=0.0)
        print("ready", flush=True)  # noqa: T201 - read by the parent
        for start in range(0, count, _REQUEST):
            numbers = range(start, min(start + _REQUEST, count))
            images = [UploadedImage(data=photograph(n), item=IndexItem(id=f"{n:04d}")) for n in numbers]
            async for receipt in use_case.receipts(images):
                assert receipt.status in {"indexed", "duplicate"}, receipt
                print(receipt.id, flush=True)  # noqa: T201 - read by the parent
    await catalogue.close()


if __name__ == "__main__":
    asyncio.run(index(Path(sys.argv[1]), int(sys.argv[2])))
