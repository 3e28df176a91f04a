"""What fusing again from kept tokens saves against decoding and extracting again."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.bench_index import encoded_photograph
from aff_benchmarks.bench.measuring import alternate
from aff_shared.bundles.bundle import load_manifest
from gallery_indexer.features.device import device_named
from gallery_indexer.features.feature_cache import FeatureCache, TokenKind
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.image_encoder import EncoderInput
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation
from gallery_indexer.settings import IndexerSettings


class RemixBench(BaseModel):
    """What was measured.

    Attributes:
        speedup: Seconds of decoding, extracting and mixing over those of reading tokens and mixing.
        images_per_s: From kept tokens.
        again_images_per_s: From JPEG bytes, in one thread beside torch's own.
        bytes_per_image: Of the kept tokens.
        images: Photographs of 640 x 480 pixels.
        device: Of extractors and mixer.
    """

    model_config = ConfigDict(frozen=True)

    speedup: float
    images_per_s: float
    again_images_per_s: float
    bytes_per_image: float
    images: int
    device: str


def bench_remix(bundle: Path, images: int, rounds: int, device: str) -> RemixBench:
    """Measure with the extractors and the mixer of a bundle on procedural photographs.

    Raises:
        BundleError: The bundle cannot be used.
    """
    manifest, settings = load_manifest(bundle), IndexerSettings()
    encoder = GalleryEncoder.load(bundle, manifest, device=device)
    files = [encoded_photograph(number) for number in range(images)]
    prepare = PhotographPreparation(settings.image_limits, encoder.preprocessings)
    names = [hashlib.sha256(file).hexdigest() for file in files]
    starts = range(0, images, settings.batch_size)

    def prepared(start: int) -> list[EncoderInput]:
        batch = files[start : start + settings.batch_size]
        return [prepare(file, "bench").image for file in batch]

    with tempfile.TemporaryDirectory() as directory:
        tokens, kind = FeatureCache(Path(directory)), TokenKind.of(manifest)
        for start in starts:
            encoded = encoder.encode_images(prepared(start), with_features=True)
            features = [one.features for one in encoded if one.features is not None]
            tokens.keep(kind, list(zip(names[start:], features, strict=False)))

        def again() -> None:
            for start in starts:
                encoder.encode_images(prepared(start))

        def fused() -> None:
            for start in starts:
                found = tokens.fetch(kind, names[start : start + settings.batch_size])
                encoder.fuse(list(found.values()))

        again_s, fused_s = alternate(again, fused, rounds)
        size_bytes = tokens.size_bytes()
        tokens.close()
    return RemixBench(
        speedup=again_s / fused_s,
        images_per_s=images / fused_s,
        again_images_per_s=images / again_s,
        bytes_per_image=size_bytes / images,
        images=images,
        device=device_named(device).type,
    )
