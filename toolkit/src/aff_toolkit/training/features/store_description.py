"""The description of a feature store, with the key of its inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.resource_limits import usable_cores
from aff_toolkit.data import Settings
from aff_toolkit.data.augmentation import USUAL, Augmentation
from aff_toolkit.data.photograph import Photograph
from gallery_indexer.features.shards import FeatureStoreError

DESCRIPTION_NAME = "store.json"
_UNBOUND = {"batch_size", "decode_threads"}
PHOTOGRAPHS_NAME = "photographs.jsonl"


class StoreSettings(Settings):
    """Settings of a feature store.

    Attributes:
        pixel_size: Side of the stored photographs in pixels, for the query encoder; None stores none.
        copies: Stored versions of each photograph: the original and copies - 1 augmented ones.
        augmented_size: Side in pixels at which a photograph is augmented.
        shard_photographs: Photographs per file; each file is kept in memory until it is finished.
    """

    pixel_size: int | None = Field(default=None, ge=16)
    copies: int = Field(default=1, ge=1)
    augmented_size: int = Field(default=256, ge=32)
    shard_photographs: int = Field(default=512, ge=1)
    batch_size: int = Field(default=32, ge=1)
    decode_threads: int = Field(default_factory=usable_cores, ge=1)
    seed: int = 0
    augmentation: Augmentation = USUAL


class StoreDescription(Settings):
    """`store.json`.

    Attributes:
        key: sha256 of extractors, their weights, the photographs' names and instances, and the settings of the shards.
        photographs: Their number.
    """

    format_version: Literal[1] = 1
    key: str
    photographs: int
    shard_photographs: int
    pixel_size: int | None
    copies: int
    features: tuple[FeatureSpec, ...]

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.photographs // self.shard_photographs)

    def rows_of(self, shard: int) -> range:
        """Return the rows of a shard."""
        first = shard * self.shard_photographs
        return range(first, min(first + self.shard_photographs, self.photographs))

    @classmethod
    def read(cls, directory: Path) -> StoreDescription:
        """Read the description of a store.

        Raises:
            FeatureStoreError: The description is missing, altered, or of another release.
        """
        path = directory / DESCRIPTION_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise FeatureStoreError(f"no feature store there: {error.strerror}", item=str(path)) from error
        except ValidationError as error:
            detail = "altered, or written by another release; remove its directory and extract the features again"
            raise FeatureStoreError(detail, item=str(path)) from error


@dataclass(frozen=True, slots=True)
class ExtractorSet:
    """Extractors, none if only pixels are stored, and the sha256 of each weights file by path."""

    specs: tuple[ExtractorSpec, ...] = ()
    weights: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of_directory(cls, specs: Sequence[ExtractorSpec], directory: Path) -> ExtractorSet:
        """Hash the weights of the extractors in `directory`."""
        paths = sorted(spec.weights for spec in specs if spec.weights)
        digests = ((path, hashlib.sha256((directory / path).read_bytes()).hexdigest()) for path in paths)
        return cls(tuple(specs), tuple(digests))


def describe_store(
    photographs: Sequence[Photograph], extractors: ExtractorSet, settings: StoreSettings
) -> StoreDescription:
    """Return the description of the store of these extractors and photographs."""
    digest = hashlib.sha256()
    for photograph in photographs:
        digest.update(json.dumps([photograph.name, photograph.instance]).encode())
    # Stores without a setting for the augmentation keep their key.
    usual = settings.augmentation == USUAL or settings.copies == 1
    content: Mapping[str, object] = {
        "photographs": digest.hexdigest(),
        "extractors": [spec.model_dump(mode="json") for spec in extractors.specs],
        "weights": extractors.weights,
        "settings": settings.model_dump(exclude=_UNBOUND | ({"augmentation"} if usual else set())),
    }
    canonical = json.dumps(content, sort_keys=True)
    return StoreDescription(
        key=hashlib.sha256(canonical.encode()).hexdigest(),
        photographs=len(photographs),
        shard_photographs=settings.shard_photographs,
        pixel_size=settings.pixel_size,
        copies=settings.copies,
        features=tuple(feature for spec in extractors.specs for feature in spec.features),
    )
