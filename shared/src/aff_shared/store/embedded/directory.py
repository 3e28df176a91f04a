"""The directory of an embedded gallery: its lock, its manifest and its shards.

```
gallery.lock          held with flock while a process has the gallery open; the kernel frees it on any death
gallery.json          the embedding space, and the name of the one shard that counts
shard-<random>/       files of the engine
```

A shard counts from the moment that the manifest names it, and the manifest is replaced atomically. So a kill
at any point leaves the gallery as it was before or after, and possibly shards that no manifest names;
the next opening removes those.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from aff_shared.errors import StoreError, StoreLockedError, StoreUnavailableError
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.store.embedded.errors import damaged

_ROOM_TO_OPEN_BYTES = 64 * 2**20  # a file of the write-ahead log, 32 MiB, and what else is made then
_ROOM_TO_WRITE_BYTES = 128 * 2**20  # a batch is written twice: to the log and to the segment

Document = TypeVar("Document", bound=BaseModel)


class EdgeManifest(BaseModel):
    """Content of `gallery.json`.

    Attributes:
        embedding_space: Space of the gallery.
        shard: Name of the shard's directory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    embedding_space: EmbeddingSpace
    shard: str


class EdgeDirectory:
    """A locked gallery directory."""

    def __init__(self, path: Path) -> None:
        """Make the directory if it is missing, lock it, and remove what a killed process left behind.

        Raises:
            StoreLockedError: Another store holds the directory.
            StoreDamagedError: Its manifest is invalid.
            StoreUnavailableError: The directory or its manifest cannot be read.
        """
        self._path = path.absolute()
        self._lock = acquire_lock(self._path)
        try:
            manifest = self._path / "gallery.json"
            self.manifest = read_document(EdgeManifest, manifest) if manifest.exists() else None
        except BaseException:
            self.close()
            raise
        self.sweep()

    @property
    def shard_path(self) -> Path:
        """Directory of the shard that counts; there is one once there is a manifest."""
        assert self.manifest is not None, "no shard was adopted"
        return self._path / self.manifest.shard

    def new_shard_path(self) -> Path:
        """Return a fresh name for a shard; it counts from `adopt` on."""
        return self._path / f"shard-{uuid.uuid4().hex}"

    def adopt(self, space: EmbeddingSpace, shard_path: Path) -> None:
        """Make a complete, flushed shard the one that counts."""
        manifest = EdgeManifest(embedding_space=space, shard=shard_path.name)
        replace_durably(self._path / "gallery.json", manifest.model_dump_json(indent=2))
        self.manifest = manifest

    def require_room(self, *, to_write: bool) -> None:
        """Raise StoreError where the disk has too little room to open the shard, or to write a batch.

        The engine's files are mapped into memory before their blocks are there, and a write that finds no block kills
        the process (SIGBUS). So there have to be enough before it begins.
        """
        needed_bytes = _ROOM_TO_WRITE_BYTES if to_write else _ROOM_TO_OPEN_BYTES
        free = shutil.disk_usage(self._path).free
        if free < needed_bytes:
            raise StoreError(
                f"no space left on the gallery's disk: {free >> 20} MiB are free in {self._path}, "
                f"{needed_bytes >> 20} are needed"
            )

    def sweep(self) -> None:
        """Remove the shards that do not count."""
        for path in self._path.glob("shard-*"):
            if self.manifest is None or path.name != self.manifest.shard:
                shutil.rmtree(path, ignore_errors=True)

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)


def read_document(kind: type[Document], path: Path) -> Document:
    """Read a JSON file of the gallery.

    Raises:
        StoreUnavailableError: The file cannot be read.
        StoreDamagedError: It has another content.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise StoreUnavailableError(f"cannot read {path}: {error}") from error
    except ValidationError as error:
        raise damaged(path, error) from error


def acquire_lock(directory: Path) -> int:
    """Make a directory if it is missing, and lock it for this process.

    Returns:
        File descriptor that holds the lock until it is closed.

    Raises:
        StoreLockedError: Another process, or this one, holds it.
        StoreUnavailableError: It cannot be opened.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / "gallery.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreUnavailableError(f"cannot open the gallery directory {directory}: {error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreLockedError(
            f"the gallery directory {directory} is open in another process. The embedded store serves "
            f"one process at a time: run both services in one (`aff serve`), or use a Qdrant server (QDRANT_URL)."
        ) from error
    return lock


def replace_durably(path: Path, text: str) -> None:
    """Replace a file so that, after any death of process or machine, it is the old one or the new one."""
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)  # a rename is durable once the directory is written
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
