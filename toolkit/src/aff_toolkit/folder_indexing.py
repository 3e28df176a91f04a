"""Sends a folder of photographs to the gallery indexer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aff_contracts.errors import AffError, BodyTooLargeError, ImageError
from aff_contracts.schemas.problem import Problem, problem_of
from aff_toolkit.client import IndexerClient, ServiceError, Upload

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"}
)
_MAX_BATCH_IMAGES = 32
_MAX_BATCH_BYTES = 32 * 2**20


class FolderError(AffError):
    """The folder cannot be indexed."""

    code = "folder_unusable"
    status = 422
    title = "Unusable folder"


@dataclass(slots=True)
class FolderSummary:
    """What became of a folder: receipts by status, and the problem of every file that was not indexed."""

    files: int = 0
    indexed: int = 0
    updated: int = 0
    duplicate: int = 0
    failures: dict[str, Problem] = field(default_factory=dict)


def find_photographs(folder: Path) -> list[Path]:
    """Return the image files below a folder, by their suffixes, in a stable order.

    Raises:
        FolderError: Not a folder, or without image files.
    """
    if not folder.is_dir():
        raise FolderError("is not a folder", item=str(folder))
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise FolderError(f"holds no image files ({', '.join(sorted(IMAGE_SUFFIXES))})", item=str(folder))
    return found


def index_folder(
    client: IndexerClient, folder: Path, paths: list[Path], on_progress: Callable[[int], None]
) -> FolderSummary:
    """Index photographs; an item's id is its path within the folder, so a second run finds duplicates.

    Args:
        client: Connected to the indexer.
        folder: Root of the ids.
        paths: Files below it.
        on_progress: Called with the number of files done since the last call.

    Raises:
        ServiceError: A batch was refused, and not for its size (then its images go one by one).
        ServiceUnreachableError: The indexer is gone; what was sent before stays indexed.
    """
    summary = FolderSummary(files=len(paths))
    for batch in _batches(folder, paths, summary):
        send_batch(client, batch, summary)
        on_progress(len(batch))
    return summary


def send_batch(client: IndexerClient, batch: list[Upload], summary: FolderSummary) -> None:
    """Index a batch and add what became of it to the summary; a batch refused for its size goes image by image.

    Raises:
        ServiceError: Refused, and not for its size.
        ServiceUnreachableError: The indexer is gone.
    """
    try:
        answer = client.index(batch)
    except ServiceError as error:
        if error.problem.status != BodyTooLargeError.status:
            raise
        if len(batch) == 1:
            summary.failures[batch[0].id] = error.problem
        else:
            for upload in batch:
                send_batch(client, [upload], summary)
        return
    summary.indexed += answer.indexed
    summary.updated += answer.updated
    summary.duplicate += answer.duplicate
    for receipt in answer.receipts:
        if receipt.error is not None:
            summary.failures[batch[receipt.index].id] = receipt.error


def _batches(folder: Path, paths: list[Path], summary: FolderSummary) -> Iterator[list[Upload]]:
    batch: list[Upload] = []
    size = 0
    for path in paths:
        name = _encodable(path.relative_to(folder).as_posix())
        try:
            data = path.read_bytes()
        except OSError as error:
            summary.failures[name] = problem_of(ImageError(f"cannot be read: {error.strerror}", item=name))
            continue
        if batch and (len(batch) == _MAX_BATCH_IMAGES or size + len(data) > _MAX_BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(Upload(id=name, name=name, data=data, payload={"file": _encodable(str(path.resolve()))}))
        size += len(data)
    if batch:
        yield batch


def _encodable(name: str) -> str:
    """Write the bytes of a file name that are no UTF-8 as escapes; different names stay different."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
