"""Training images held in memory at one size, with the gallery features of each where they are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from aff_contracts.preprocessing import Preprocessing, preprocess
from aff_toolkit.training.data.photograph import Photograph
from gallery_indexer.extractors.extractor import FeatureBatch, Images

_BATCH = 64
_THREADS = 2

Extract = Callable[[Images], Mapping[str, FeatureBatch]]
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ImageSet:
    """N labelled images.

    Attributes:
        pixels: (N, S, S, 3) uint8.
        labels: (N,) int64 in [0, C).
        features: Per feature a FeatureBatch of N rows with float16 values; empty where none were extracted.
    """

    pixels: Tensor
    labels: Tensor
    features: dict[str, FeatureBatch]

    @property
    def classes(self) -> int:
        """Number of instances, C."""
        return int(self.labels.max()) + 1

    def features_of(self, rows: Tensor) -> dict[str, FeatureBatch]:
        """Return the features of those rows, as float32."""
        return {
            name: FeatureBatch(batch.values[rows].float(), batch.mask[rows]) for name, batch in self.features.items()
        }


def build_image_set(
    photographs: Sequence[Photograph], size: int, *, extract: Extract | None, on_progress: OnProgress
) -> ImageSet:
    """Load every photograph once: keep it at `size` x `size` pixels, and its features if `extract` is given.

    Args:
        photographs: What to load.
        size: Pixels of a side of what is kept.
        extract: The frozen extractors of the gallery side; they see the photograph as it was loaded.
        on_progress: Called with the number of photographs done since the last call.
    """
    names = {name: i for i, name in enumerate(sorted({photograph.instance for photograph in photographs}))}
    spec = Preprocessing(resize="stretch", size=size)
    pixels = np.empty((len(photographs), size, size, 3), dtype=np.uint8)
    batches: list[dict[str, FeatureBatch]] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        for start in range(0, len(photographs), _BATCH):
            images = list(pool.map(lambda p: p.load(), photographs[start : start + _BATCH]))
            pixels[start : start + len(images)] = [preprocess(image, spec) for image in images]
            if extract is not None:
                batches.append({name: _halved(batch) for name, batch in extract(images).items()})
            on_progress(len(images))
    labels = torch.tensor([names[photograph.instance] for photograph in photographs])
    return ImageSet(torch.from_numpy(pixels), labels, _concatenated(batches))


def _halved(batch: FeatureBatch) -> FeatureBatch:
    return FeatureBatch(batch.values.half().cpu(), batch.mask.cpu())


def _concatenated(batches: list[dict[str, FeatureBatch]]) -> dict[str, FeatureBatch]:
    return {
        name: FeatureBatch(
            torch.cat([batch[name].values for batch in batches]),
            torch.cat([batch[name].mask for batch in batches]),
        )
        for name in (batches[0] if batches else ())
    }
