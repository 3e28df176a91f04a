"""A gallery encoder that two colours stop; its processes start fast, because this file does not import torch."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest
from gallery_indexer.features.image_encoder import EncodedImage, EncoderInput
from tests.support.fake_gallery_encoder import FakeGalleryEncoder

DEADLY, ENDLESS = (9, 9, 9), (8, 8, 8)


class StoppedEncoder(FakeGalleryEncoder):
    """Kills its process at images of the first colour, and does not return at those of the second."""

    def encode_images(self, images: Sequence[EncoderInput], *, with_features: bool = False) -> list[EncodedImage]:
        colours = [tuple(pixels[0, 0]) for (pixels,) in images]
        if DEADLY in colours:
            os.kill(os.getpid(), signal.SIGKILL)
        if ENDLESS in colours:
            time.sleep(600)
        return super().encode_images(images, with_features=with_features)


def load_stopped_encoder(bundle_directory: Path, manifest: BundleManifest, *, device: str) -> StoppedEncoder:
    """Return an encoder that fails at (1, 2, 3), and whose memory is enough for two images."""
    return StoppedEncoder(poison=(1, 2, 3), fits=2)
