"""Indexing as tutorials do it: one photograph after the other through every step.

`python -m aff_benchmarks.bench.baselines.plain_indexing BUNDLE IMAGES DEVICE` prints the images per second.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image

from aff_benchmarks.bench.synthetic_gallery import jpeg_photograph
from aff_shared.bundles.bundle import load_manifest
from aff_shared.store.embedded.store import QdrantEdgeStore
from aff_shared.store.gallery_store import GalleryPoint, GalleryRecord
from aff_shared.store.settings import StoreSettings
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.indexing.photograph_preparation import prepare_photograph

_DISTINCT = 64
_WARM_UP = 4


async def index_plainly(encoder: GalleryEncoder, store: QdrantEdgeStore, files: Sequence[bytes]) -> None:
    """Decode, prepare, extract, mix and store each photograph before the next."""
    for number, file in enumerate(files):
        photograph = Image.open(io.BytesIO(file)).convert("RGB")
        prepared = prepare_photograph(np.asarray(photograph), encoder.preprocessings)
        (encoded,) = encoder.encode_images([prepared])
        digest = hashlib.sha256(file).hexdigest()
        record = GalleryRecord(str(number), digest, photograph.width, photograph.height, datetime.now(UTC), {})
        await store.upsert([GalleryPoint(record, encoded.embedding)])


async def plain_images_per_s(bundle: Path, images: int, device: str) -> float:
    """Return the images per second with procedural photographs of 640 x 480 pixels and an embedded store.

    Raises:
        BundleError: The bundle cannot be used.
    """
    manifest = load_manifest(bundle)
    encoder = GalleryEncoder.load(bundle, manifest, device=device)
    distinct = [jpeg_photograph(number) for number in range(min(images, _DISTINCT))]
    with tempfile.TemporaryDirectory() as directory:
        store = await QdrantEdgeStore.open(Path(directory), StoreSettings(url=""))
        await store.create(manifest.space)
        await index_plainly(encoder, store, distinct[:_WARM_UP])
        began = time.perf_counter()
        await index_plainly(encoder, store, [distinct[number % len(distinct)] for number in range(images)])
        seconds = time.perf_counter() - began
        await store.close()
    return images / seconds


def main() -> None:
    """Measure, and print the images per second."""
    bundle, images, device = sys.argv[1:]
    sys.stdout.write(f"{asyncio.run(plain_images_per_s(Path(bundle), int(images), device))}\n")


if __name__ == "__main__":
    main()
