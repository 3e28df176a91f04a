"""What an extraction into a feature store costs beside the extractors alone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import cv2
import torch
from accelerate.accelerator import Accelerator
from pydantic import BaseModel, ConfigDict

from aff_benchmarks.bench.alternate import alternate
from aff_toolkit.data.folder import unlabelled_photographs
from aff_toolkit.data.scenes.view import render_view
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.store_description import StoreSettings
from aff_toolkit.training.stages.gallery_side import GallerySide

_PHOTOGRAPH_SIZE = (480, 640)


class FeaturesBench(BaseModel):
    """What was measured.

    Attributes:
        extraction_over_bare: Speed of the extraction, from JPEG files to shards, as a share of the extractors' alone.
        images_per_s: Of the extraction.
        bare_images_per_s: Of the extractors on photographs that lie decoded in memory, in the same batches.
        images: Photographs of 640 x 480 pixels.
        threads: Of torch.
        device: Of the networks.
    """

    model_config = ConfigDict(frozen=True)

    extraction_over_bare: float
    images_per_s: float
    bare_images_per_s: float
    images: int
    threads: int
    device: str


def bench_features(bundle: Path, images: int, rounds: int) -> FeaturesBench:
    """Measure with the extractors of a bundle on procedural photographs.

    Raises:
        BundleError: The bundle cannot be used.
    """
    base = BaseBundle.open(bundle)
    gallery = GallerySide(base.manifest.extractors, base.directory, base)
    device = Accelerator().device
    extract = gallery.load_extract(device)
    settings = StoreSettings()
    with tempfile.TemporaryDirectory() as temporary:
        folder, store = Path(temporary, "photographs"), Path(temporary, "store")
        folder.mkdir()
        for number in range(images):
            pixels = render_view(number, 0, size=_PHOTOGRAPH_SIZE)
            cv2.imwrite(str(folder / f"{number:05d}.jpg"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        photographs = unlabelled_photographs(folder, min_side=gallery.input_size)
        decoded = [photograph.load() for photograph in photographs]

        def whole() -> None:
            extract_features(photographs, gallery.extractor_set, extract, store, settings, lambda _: None)
            shutil.rmtree(store)

        def bare() -> None:
            for start in range(0, len(decoded), settings.batch_size):
                extract(decoded[start : start + settings.batch_size])

        seconds, bare_seconds = alternate(whole, bare, rounds)
    return FeaturesBench(
        extraction_over_bare=bare_seconds / seconds,
        images_per_s=images / seconds,
        bare_images_per_s=images / bare_seconds,
        images=images,
        threads=torch.get_num_threads(),
        device=device.type,
    )
