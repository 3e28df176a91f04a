"""Puts a backup into the place of an embedded gallery, so that a kill on the way leaves the one or the other.

The backup is copied into `restoring/`. From the moment that it is complete there, and named `restored/`, it counts:
what is left to do is done again by the next opening.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from aff_contracts.gallery_store.edge_copy import copy_files


async def copy_for_restore(backup: Path, root: Path) -> None:
    """Copy a backup into the gallery's directory; from the end of it on, it counts."""
    partial = root / "restoring"
    await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)
    await copy_files(backup, partial)
    partial.rename(root / "restored")


def finish_restore(root: Path) -> None:
    """Put a complete copy into the place of the collections; does nothing where there is none."""
    shutil.rmtree(root / "restoring", ignore_errors=True)
    complete = root / "restored"
    if not complete.exists():
        return
    if (complete / "collections").exists():
        shutil.rmtree(root / "collections", ignore_errors=True)
        (complete / "collections").rename(root / "collections")
    (complete / "catalogue.json").replace(root / "catalogue.json")
    shutil.rmtree(complete)
