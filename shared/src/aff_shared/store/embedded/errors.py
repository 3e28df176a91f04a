"""Translates failures of Qdrant Edge: rejected calls, a failing disk, or damaged files."""

from __future__ import annotations

import errno
import re
from pathlib import Path

from aff_shared.errors import StoreDamagedError, StoreError, StoreRejectedError, StoreUnavailableError

_PANIC = "PanicException"
_FAILURE = "Service runtime error"
_OF_THE_SYSTEM = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
)


def is_of_the_engine(error: BaseException) -> bool:
    """Return whether an exception may be the engine's: it panics on some damage, and a panic is not an `Exception`."""
    return isinstance(error, Exception) or type(error).__name__ == _PANIC


def error_on_opening(error: BaseException, path: Path) -> StoreError:
    """Return the error for an exception that the engine raised while it opened the collection in a directory."""
    if _is_of_the_system(error):
        return StoreUnavailableError(f"cannot open the gallery in {path}: {error}")
    return damaged(path, error)


def error_of_call(error: BaseException, path: Path) -> StoreError:
    """Return the error for an exception of a call to the opened collection in a directory."""
    if _is_of_the_system(error):
        return StoreError(f"Qdrant Edge in {path}: {error}")
    if type(error).__name__ == _PANIC or isinstance(error, LookupError) or str(error).startswith(_FAILURE):
        return damaged(path, error)
    return StoreRejectedError(f"Qdrant Edge: {error}")


def damaged(path: Path, error: BaseException) -> StoreDamagedError:
    """Return the error for a damaged directory or file."""
    return StoreDamagedError(
        f"the gallery's files in {path} are damaged ({error}). Stop the services; `aff gallery rebuild` moves them "
        f"away and repairs the gallery (docs/operations.md)"
    )


def _is_of_the_system(error: BaseException) -> bool:
    """Return whether the operating system rejected a call (full disk, missing permission), which damages nothing."""
    if isinstance(error, OSError):
        return error.errno in _OF_THE_SYSTEM
    found = re.search(r"os error (\d+)", str(error))
    return found is not None and int(found[1]) in _OF_THE_SYSTEM
