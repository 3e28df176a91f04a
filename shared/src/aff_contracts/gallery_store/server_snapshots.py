"""Which snapshots of a Qdrant server make a backup."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aff_contracts.embedding_space import EmbeddingSpace
from aff_contracts.errors import BackupError


class Snapshot(BaseModel):
    """A snapshot of one collection, which lies on the server.

    Attributes:
        collection: Name of the collection.
        name: File name of the snapshot.
        space: Of the collection.
        live: Whether searches went there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    collection: str
    name: str
    space: EmbeddingSpace
    live: bool


class SnapshotList(BaseModel):
    """`snapshots.json` of a backup."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    snapshots: list[Snapshot] = Field(min_length=1)


def read_snapshots(directory: Path) -> SnapshotList:
    """Read the list of a backup.

    Raises:
        BackupError: It is no backup of a server's gallery.
    """
    try:
        return SnapshotList.model_validate_json((directory / "snapshots.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError("it is no backup of a gallery on a server", item=directory.name) from error
