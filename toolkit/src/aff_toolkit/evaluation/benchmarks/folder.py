"""A benchmark from a folder with a subfolder per instance."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark, instance_benchmark
from aff_toolkit.evaluation.evaluation_errors import NothingToScoreError
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.training.data.folder import folder_photographs


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
        return instance_benchmark(protocol)
    gallery = folder_photographs(root, min_side=min_side)
    images = Counter(photograph.instance for photograph in gallery)
    queries = [photograph for photograph in gallery if images[photograph.instance] > 1]
    if not queries:
        raise NothingToScoreError("no instance has two photographs, so none can be left out", item=str(root))
    description = f"folder {root.name}: each photograph against all the others (leave one out); whole image"
    return instance_benchmark(Protocol("folder", description, queries, gallery), leave_one_out=True)
