"""Collects the features of a shard's photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import FeatureSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.shards.store_errors import FeatureNotFiniteError


class ShardBuilder:
    """The arrays of one shard: pixels, global features, and local tokens end to end with their offsets."""

    def __init__(self, rows: range, features: Sequence[FeatureSpec], copies: int, pixel_size: int | None) -> None:
        self._first = rows.start
        self._features = features
        self._copies = copies
        self._readable = np.zeros(len(rows), dtype=np.bool_)
        self._pixels = None
        if pixel_size is not None:
            self._pixels = np.zeros((len(rows), pixel_size, pixel_size, 3), dtype=np.uint8)
        self._whole = {
            feature.name: np.zeros((len(rows), copies, feature.dimension), dtype=np.float16)
            for feature in features
            if feature.kind == "global"
        }
        self._tokens: dict[tuple[str, int, int], tuple[NDArray[np.float16], NDArray[np.float16]]] = {}
        self.unreadable: dict[int, str] = {}

    def add_unreadable(self, row: int, reason: str) -> None:
        """Record why a row of the store is empty."""
        self.unreadable[row] = reason

    def add_pixels(self, row: int, pixels: NDArray[np.uint8] | None) -> None:
        """Add a readable photograph."""
        self._readable[row - self._first] = True
        if self._pixels is not None and pixels is not None:
            self._pixels[row - self._first] = pixels

    def add_features(
        self, rows: Sequence[int], names: Sequence[str], copy: int, found: Mapping[str, FeatureBatch]
    ) -> None:
        """Add features of photographs.

        Args:
            rows: Rows of the store.
            names: Names of the photographs, for errors.
            copy: Index of the augmented copy.
            found: Features of the photographs, by name.

        Raises:
            FeatureNotFiniteError: A value is NaN, infinite or beyond float16; has the photograph's name.
        """
        for feature in self._features:
            batch = found[feature.name]
            with np.errstate(over="ignore"):
                values = batch.values.cpu().numpy().astype(np.float16)
            finite = np.isfinite(values).all(axis=(1, 2))
            if not finite.all():
                name = names[int(np.flatnonzero(~finite)[0])]
                raise FeatureNotFiniteError(f"{feature.name} is not finite in float16", item=name)
            if feature.kind == "global":
                self._whole[feature.name][[row - self._first for row in rows], copy] = values[:, 0]
            else:
                self._add_tokens(feature.name, rows, copy, batch, values)

    def _add_tokens(
        self, name: str, rows: Sequence[int], copy: int, batch: FeatureBatch, values: NDArray[np.float16]
    ) -> None:
        mask = batch.mask.cpu().numpy()
        positions = np.zeros((*mask.shape, 2), dtype=np.float16)
        if batch.positions is not None:
            positions = batch.positions.cpu().numpy().astype(np.float16)
        for place, row in enumerate(rows):
            kept = mask[place]
            self._tokens[name, row - self._first, copy] = values[place][kept], positions[place][kept]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the shard's arrays by name."""
        arrays: dict[str, NDArray[Any]] = {"readable": self._readable, **self._whole}
        if self._pixels is not None:
            arrays["pixels"] = self._pixels
        for feature in self._features:
            if feature.kind == "local":
                arrays |= self._local_arrays(feature)
        return arrays

    def _local_arrays(self, feature: FeatureSpec) -> dict[str, NDArray[Any]]:
        nothing = (np.zeros((0, feature.dimension), np.float16), np.zeros((0, 2), np.float16))
        entries = [
            self._tokens.get((feature.name, row, copy), nothing)
            for row in range(len(self._readable))
            for copy in range(self._copies)
        ]
        offsets = np.cumsum([0, *(len(values) for values, _ in entries)], dtype=np.int64)
        return {
            f"{feature.name}.values": np.concatenate([values for values, _ in entries]),
            f"{feature.name}.positions": np.concatenate([positions for _, positions in entries]),
            f"{feature.name}.offsets": offsets,
        }
