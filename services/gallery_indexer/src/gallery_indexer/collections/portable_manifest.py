"""The format of a gallery in files: directories of Parquet files, and a manifest.

```
manifest.json                                  format, counts, checksums, and whether the export is complete
collections/<12 digits>/part-00000.parquet     images of one collection, sorted by point id: see portable_parts
```
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, computed_field

from aff_shared.errors import BackupDamagedError, BackupError, BackupNotFoundError
from aff_shared.schemas.embedding_space import EmbeddingSpace, Sha256
from aff_shared.schemas.gallery import Backup
from aff_shared.schemas.payload_schema import PayloadType

MANIFEST = "manifest.json"
FORMAT_VERSION = 1


class Part(BaseModel):
    """A Parquet file of a collection.

    Attributes:
        file: Name in the collection's directory.
        count: Number of rows.
        size_bytes: Size of the file.
        sha256: Digest of the file.
        following: First point id of the next part; null in the last one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str = Field(pattern=r"^part-\d{5,9}\.parquet$")
    count: int = Field(ge=1)
    size_bytes: int = Field(ge=1)
    sha256: Sha256
    following: str | None


class PortableCollection(BaseModel):
    """A collection in files.

    Attributes:
        space: Its embedding space.
        live: Whether it was the live collection.
        live_since: Time at which it became live last.
        parts: Its files, in order.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    space: EmbeddingSpace
    live: bool
    live_since: datetime | None
    parts: list[Part] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def count(self) -> int:
        """Number of images."""
        return sum(part.count for part in self.parts)

    def place(self, directory: Path) -> Path:
        """Return the directory of its files."""
        return directory / "collections" / self.space.id[:12]


class Manifest(BaseModel):
    """The content of `manifest.json`.

    Attributes:
        format: Name of the format.
        version: Version of the format.
        complete: False while the files are being written.
        store: Adapter of the exported store.
        created_at: Start of the export, UTC.
        payload_schema: Types of payload keys that filters use.
        collections: The collections, the live one first.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal["aff-gallery"] = "aff-gallery"
    version: int = Field(default=FORMAT_VERSION, ge=1, le=FORMAT_VERSION)
    complete: bool
    store: str
    created_at: datetime
    payload_schema: dict[str, PayloadType] = {}
    collections: list[PortableCollection] = Field(min_length=1)

    @property
    def count(self) -> int:
        """Number of images in all collections."""
        return sum(collection.count for collection in self.collections)

    def described(self, name: str) -> Backup:
        """Return the description of this backup in responses."""
        return Backup(
            name=name,
            store=self.store,
            created_at=self.created_at,
            spaces=[collection.space for collection in self.collections],
            count=self.collections[0].count,
            size_bytes=sum(part.size_bytes for collection in self.collections for part in collection.parts),
        )


def read_manifest(directory: Path, *, unfinished: bool = False) -> Manifest:
    """Read the manifest of a directory.

    Raises:
        BackupNotFoundError: There is no manifest.
        BackupDamagedError: It cannot be read, or is inconsistent.
        BackupError: It is of a newer or an earlier release, or unfinished and `unfinished` is not set.
    """
    try:
        found = json.loads((directory / MANIFEST).read_bytes())
        _require_known(found, directory)
        manifest = Manifest.model_validate(found)
    except (FileNotFoundError, NotADirectoryError) as error:
        _require_not_earlier(directory)
        raise BackupNotFoundError("there is no backup of that name", item=directory.name) from error
    except (OSError, ValueError, RecursionError) as error:
        raise BackupDamagedError(f"the manifest cannot be read: {error}", item=directory.name) from error
    if not manifest.complete and not unfinished:
        raise BackupError("the backup is incomplete; create it again", item=directory.name)
    _require_consistent(manifest, found, directory)
    return manifest


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write the manifest durably, in one step; raises OSError."""
    partial = directory / f"{MANIFEST}.partial"
    with partial.open("w") as file:
        file.write(manifest.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(directory / MANIFEST)


def _require_known(found: Any, directory: Path) -> None:
    """Raise BackupError if a newer release wrote the manifest, before its fields are validated."""
    version = found.get("version") if isinstance(found, dict) else None
    if isinstance(version, int) and version > FORMAT_VERSION:
        detail = (
            f"a newer release wrote it (format {version}; this one reads up to {FORMAT_VERSION}): update this release"
        )
        raise BackupError(detail, item=directory.name)


def _require_not_earlier(directory: Path) -> None:
    """Raise BackupError if an earlier release wrote the directory."""
    if (directory / "snapshots.json").is_file():
        detail = "an earlier release wrote it: its snapshots.json names snapshots, which Qdrant's own tools recover"
        raise BackupError(detail, item=directory.name)
    if (directory / "catalogue.json").is_file():
        detail = (
            "an earlier release wrote it, as the directory of an embedded gallery: "
            "aff gallery export NEW --gallery-dir DIRECTORY makes a backup of it"
        )
        raise BackupError(detail, item=directory.name)


def _require_consistent(manifest: Manifest, found: Any, directory: Path) -> None:
    collections = manifest.collections
    if sum(collection.live for collection in collections) != 1 or not collections[0].live:
        raise BackupDamagedError("the manifest has to list one live collection, as the first", item=directory.name)
    if len({collection.space.id[:12] for collection in collections}) < len(collections):
        raise BackupDamagedError("the manifest lists an embedding space twice", item=directory.name)
    for collection, read in zip(collections, found["collections"], strict=True):
        if len({part.file for part in collection.parts}) < len(collection.parts):
            raise BackupDamagedError("the manifest lists a part twice", item=directory.name)
        if read.get("count") != collection.count:
            detail = f"the manifest counts {read.get('count')} images, but {collection.count} in the parts"
            raise BackupDamagedError(detail, item=directory.name)


def key_of(directory: Path) -> str:
    """Return 64 hex digits that identify these files; raises OSError."""
    return hashlib.sha256((directory / MANIFEST).read_bytes()).hexdigest()
