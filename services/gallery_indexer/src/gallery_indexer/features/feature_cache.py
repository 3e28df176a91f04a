"""A cache of the extractors' features of indexed images, from which another mixer can embed them.

```
tokens.sqlite                  location of each image, and the features of the newest ones
shards/shard-<n>.safetensors   features of 512 images each, in the format of a training's feature store
```

Features are durable when `keep` returns. The newest are in the database; when there are enough of them, a shard is
written, and then one transaction records that they are in it. A shard that no transaction records is removed when the
directory is opened.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from aff_shared.bundles.bundle import BundleManifest, FeatureSpec
from aff_shared.bundles.bundle_specs import extractors_id
from gallery_indexer.features.gallery_encoder import batch_of
from gallery_indexer.features.image_encoder import ImageFeatures, Tokens, not_finite
from gallery_indexer.features.shards import (
    FeatureNotFiniteError,
    FeatureStoreNotWrittenError,
    ShardBuilder,
    map_shard,
    shard_path,
    write_shard,
)

_SHARD_IMAGES = 512
_QUERY_SIZE = 500

_logger = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    extractors TEXT NOT NULL, content_sha256 TEXT NOT NULL, shard INTEGER, place INTEGER, pending BLOB,
    UNIQUE (extractors, content_sha256)
);
CREATE INDEX IF NOT EXISTS pending ON kept (extractors) WHERE pending IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class FeatureKind:
    """The extractors of cached features; features of different extractors are kept apart.

    Attributes:
        extractors: Id of the extractors with their weights.
        specs: The specifications of their features.
    """

    extractors: str
    specs: tuple[FeatureSpec, ...]

    @classmethod
    def of(cls, manifest: BundleManifest) -> FeatureKind:
        """Return the kind of a bundle's features."""
        return cls(extractors_id(manifest.extractors, manifest.files), manifest.features)


class FeatureCache:
    """Features by the sha256 of an image's content. Thread-safe.

    Args:
        directory: Directory of the cache; created if it is missing.
        shard_images: Number of images in a shard.
    """

    def __init__(self, directory: Path, *, shard_images: int = _SHARD_IMAGES) -> None:
        self._shards = directory / "shards"
        self._shards.mkdir(parents=True, exist_ok=True)
        self._shard_images = shard_images
        self._lock = threading.Lock()
        self._database = sqlite3.connect(directory / "tokens.sqlite", check_same_thread=False, isolation_level=None)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_SCHEMA)
        self._remove_unrecorded_shards()
        self._forget_not_finite()

    def keep(self, kind: FeatureKind, images: Sequence[tuple[str, ImageFeatures]]) -> None:
        """Store features of images, with the sha256 of their contents; cached ones are not replaced.

        Raises:
            FeatureNotFiniteError: A value is NaN or beyond float16; has the content's sha256, and nothing is stored.
            FeatureStoreNotWrittenError: The disk is full, or a write failed.
        """
        for sha256, features in images:
            if names := not_finite(features):
                raise FeatureNotFiniteError(f"{', '.join(names)}: not finite in float16", item=sha256)
        rows = [(kind.extractors, sha256, _packed(features)) for sha256, features in images]
        with self._lock:
            with self._transaction():
                self._database.executemany(
                    "INSERT OR IGNORE INTO kept (extractors, content_sha256, pending) VALUES (?, ?, ?)", rows
                )
            while self._pending(kind) >= self._shard_images:
                self._write_shard(kind)

    def fetch(self, kind: FeatureKind, contents: Sequence[str]) -> dict[str, ImageFeatures]:
        """Return the features of those contents that are cached.

        Raises:
            FeatureShardError: A shard is missing or damaged.
        """
        found: dict[str, ImageFeatures] = {}
        for start in range(0, len(contents), _QUERY_SIZE):
            part = contents[start : start + _QUERY_SIZE]
            marks = ", ".join("?" * len(part))
            with self._lock:
                rows = self._database.execute(
                    f"SELECT content_sha256, shard, place, pending FROM kept "
                    f"WHERE extractors = ? AND content_sha256 IN ({marks})",
                    (kind.extractors, *part),
                ).fetchall()
            for sha256, shard, place, pending in rows:
                found[sha256] = _unpacked(pending) if shard is None else self._read(kind, shard, place)
        return found

    def count(self) -> int:
        """Return the number of images, including those of other extractors."""
        with self._lock:
            (images,) = self._database.execute("SELECT COUNT(*) FROM kept").fetchone()
        return int(images)

    def size_bytes(self) -> int:
        """Return the size of the cache on disk, in bytes."""
        return sum(path.stat().st_size for path in self._shards.parent.rglob("*") if path.is_file())

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run a transaction; raises FeatureStoreNotWrittenError if the database fails."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            yield
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise FeatureStoreNotWrittenError(f"features cannot be cached: {error}") from error

    def _pending(self, kind: FeatureKind) -> int:
        (images,) = self._database.execute(
            "SELECT COUNT(*) FROM kept WHERE extractors = ? AND pending IS NOT NULL", (kind.extractors,)
        ).fetchone()
        return int(images)

    def _write_shard(self, kind: FeatureKind) -> None:
        rows = self._database.execute(
            "SELECT rowid, content_sha256, pending FROM kept WHERE extractors = ? AND pending IS NOT NULL LIMIT ?",
            (kind.extractors, self._shard_images),
        ).fetchall()
        (last,) = self._database.execute("SELECT COALESCE(MAX(shard), -1) FROM kept").fetchone()
        builder = ShardBuilder(range(len(rows)), kind.specs, copies=1, pixel_size=None)
        features = [_unpacked(pending) for *_, pending in rows]
        names = [sha256 for _, sha256, _ in rows]
        for place in range(len(rows)):
            builder.add_pixels(place, None)
        builder.add_features(range(len(rows)), names, 0, batch_of(features, kind.specs))
        write_shard(shard_path(self._shards, last + 1), builder.arrays(), {})
        with self._transaction():
            self._database.executemany(
                "UPDATE kept SET shard = ?, place = ?, pending = NULL WHERE rowid = ?",
                [(last + 1, place, rowid) for place, (rowid, *_) in enumerate(rows)],
            )

    def _read(self, kind: FeatureKind, shard: int, place: int) -> ImageFeatures:
        arrays = map_shard(shard_path(self._shards, shard))
        features: dict[str, Tokens] = {}
        for spec in kind.specs:
            if spec.kind == "global":
                value = np.array(arrays[spec.name][place, :1])
                features[spec.name] = Tokens(value[value.any(axis=1)])  # zeros mean that nothing was found
            else:
                first, end = arrays[f"{spec.name}.offsets"][place : place + 2]
                values = np.array(arrays[f"{spec.name}.values"][first:end])
                features[spec.name] = Tokens(values, np.array(arrays[f"{spec.name}.positions"][first:end]))
        return features

    def _remove_unrecorded_shards(self) -> None:
        """Remove the shards of a process that was killed before it recorded them."""
        rows = self._database.execute("SELECT DISTINCT shard FROM kept WHERE shard IS NOT NULL")
        recorded = {shard_path(self._shards, number).stem for (number,) in rows}
        for path in self._shards.iterdir():
            if path.name.partition(".")[0] not in recorded:
                path.unlink()

    def _forget_not_finite(self) -> None:
        """Remove features that earlier versions of `keep` accepted and no shard can store."""
        pending = self._database.execute("SELECT rowid, content_sha256, pending FROM kept WHERE pending IS NOT NULL")
        unusable = [(rowid, sha256) for rowid, sha256, packed in pending if not_finite(_unpacked(packed))]
        if not unusable:
            return
        with self._transaction():
            self._database.executemany("DELETE FROM kept WHERE rowid = ?", [(rowid,) for rowid, _ in unusable])
        for _, sha256 in unusable:
            _logger.warning("features of the image %s are not finite and were removed", sha256)


def _packed(features: ImageFeatures) -> bytes:
    arrays = {}
    for name, tokens in features.items():
        arrays[f"{name}/values"] = tokens.values
        if tokens.positions is not None:
            arrays[f"{name}/positions"] = tokens.positions
    return save(arrays)


def _unpacked(packed: bytes) -> ImageFeatures:
    arrays = load(packed)
    names = [name.removesuffix("/values") for name in arrays if name.endswith("/values")]
    return {name: Tokens(arrays[f"{name}/values"], arrays.get(f"{name}/positions")) for name in names}
