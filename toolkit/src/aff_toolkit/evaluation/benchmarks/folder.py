"""A benchmark from a folder with a subfolder per instance."""

from __future__ import annotations

from pathlib import Path

from aff_toolkit.data.folder import folder_photographs
from aff_toolkit.errors import NothingToScoreError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, protocol_benchmark
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.relevance import leave_one_out


def folder_benchmark(root: Path, *, min_side: int | None = None) -> Benchmark:
    """Return the benchmark of a folder.

    With the subfolders `queries` and `gallery`, each with a subfolder per instance, equal names of instances are
    positives. Any other folder is one tree with a subfolder per instance: each photograph of an instance with two or
    more is a query once, and all the others are its gallery.

    Args:
        root: The folder.
        min_side: See load_photograph_file.

    Raises:
        FolderError: Not a folder, not readable, without images, or with images that lie in no subfolder.
        NothingToScoreError: No query has a positive.
    """
    if (root / "queries").is_dir() and (root / "gallery").is_dir():
        protocol = Protocol(
            name="folder",
            description=f"folder {root.name}: queries against gallery; whole image",
            queries=folder_photographs(root / "queries", min_side=min_side),
            gallery=folder_photographs(root / "gallery", min_side=min_side),
        )
        return protocol_benchmark(protocol)
    return protocol_benchmark(_leave_one_out(root, min_side))


def _leave_one_out(root: Path, min_side: int | None) -> Protocol:
    gallery = folder_photographs(root, min_side=min_side)
    asked, listed = leave_one_out([photograph.instance for photograph in gallery])
    if not asked:
        raise NothingToScoreError("no instance has two photographs, so none can be left out", item=str(root))
    description = f"folder {root.name}: each photograph against all the others (leave one out); whole image"
    return Protocol("folder", description, [gallery[row] for row in asked], gallery, listed)
