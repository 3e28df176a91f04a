"""Choice of a benchmark and its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.data.folder import folder_photographs
from aff_toolkit.errors import BenchmarkError, NothingToScoreError
from aff_toolkit.evaluation import BenchmarkName
from aff_toolkit.evaluation.benchmark import Benchmark, protocol_benchmark
from aff_toolkit.evaluation.gldv2 import gldv2_benchmark
from aff_toolkit.evaluation.protocols import Protocol, open_set_protocol, scenes_protocol
from aff_toolkit.evaluation.relevance import leave_one_out
from aff_toolkit.evaluation.revisited import revisited_benchmark

_QUERIES_EACH = 2
_GALLERY_EACH = 6
_DISTRACTORS_EACH = 8
_DIFFICULTY = 0.5


class BenchmarkChoice(BaseModel):
    """A benchmark by name.

    Attributes:
        name: Which one.
        path: Directory of the official files (`roxford5k`, `rparis6k`, `gldv2`), CSV file, or folder; `scenes` has
            none.
        distractors: Folder of distractors for `roxford5k` and `rparis6k`.
        instances: Landmarks of `scenes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: BenchmarkName
    path: Path | None = None
    distractors: Path | None = None
    instances: int = Field(default=150, ge=1)

    @property
    def label(self) -> str:
        """Unique name of the choice: `csv-open_set`, `scenes-150`, `roxford5k-distractors`."""
        if self.name == "scenes":
            return f"scenes-{self.instances}"
        if self.name in {"csv", "folder"} and self.path is not None:
            return f"{self.name}-{self.path.stem}"
        return f"{self.name}-distractors" if self.distractors else self.name

    def open(self, *, min_side: int | None = None, images: bool = True) -> Benchmark:
        """Return the benchmark; no photograph is read yet.

        Args:
            min_side: See load_photograph_file.
            images: Whether the folders of photographs of `roxford5k`, `rparis6k` and `gldv2` have to exist.

        Raises:
            BenchmarkError: Files are missing; or no path is given, or what is given has no meaning for this benchmark.
            AffError: See the function of each benchmark.
        """
        if self.distractors is not None and self.name not in {"roxford5k", "rparis6k"}:
            raise BenchmarkError("takes no folder of distractors; roxford5k and rparis6k do", item=self.name)
        if self.name == "scenes":
            if self.path is not None:
                raise BenchmarkError("is rendered: it takes no path", item=self.name)
            return scenes_benchmark(self.instances)
        if self.path is None:
            raise BenchmarkError("needs the path of its files", item=self.name)
        return self._read(self.path, min_side=min_side, images=images)

    def _read(self, path: Path, *, min_side: int | None, images: bool) -> Benchmark:
        match self.name:
            case "roxford5k" | "rparis6k":
                return revisited_benchmark(
                    self.name, path, distractors=self.distractors, min_side=min_side, images=images
                )
            case "gldv2":
                return gldv2_benchmark(path, min_side=min_side, images=images)
            case "csv":
                return csv_benchmark(path, min_side=min_side)
            case _:
                return folder_benchmark(path, min_side=min_side)


def csv_benchmark(path: Path, *, min_side: int | None = None) -> Benchmark:
    """Return the benchmark of a CSV file with the columns path, instance and role.

    A distractor is a gallery image; it is a positive of no query, unless a query bears its instance or lists it.

    Args:
        path: See open_set_protocol.
        min_side: See load_photograph_file.

    Raises:
        PhotographListError: See csv_photographs.
        GroundTruthError: See listed_relevance.
        NothingToScoreError: No query has a positive.
    """
    protocol = open_set_protocol(path, name="csv", min_side=min_side)
    return protocol_benchmark(replace(protocol, description=protocol.description.removesuffix(", exact search")))


def folder_benchmark(root: Path, *, min_side: int | None = None) -> Benchmark:
    """Return the benchmark of a folder.

    With the subfolders `queries` and `gallery`, each with a subfolder per instance, equal names of instances are
    positives. Any other folder is one tree with a subfolder per instance: each photograph of an instance with two or
    more is a query once, and all the others are its gallery.

    Args:
        root: The folder.
        min_side: See load_photograph_file.

    Raises:
        FolderError: Not a folder, not readable, without images, or with images outside subfolders.
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
    return protocol_benchmark(_leave_one_out_protocol(root, min_side))


def _leave_one_out_protocol(root: Path, min_side: int | None) -> Protocol:
    gallery = folder_photographs(root, min_side=min_side)
    asked, listed = leave_one_out([photograph.instance for photograph in gallery])
    if not asked:
        raise NothingToScoreError("no instance has two photographs, so none can be left out", item=str(root))
    description = f"folder {root.name}: each photograph against all the others (leave one out); whole image"
    return Protocol("folder", description, [gallery[row] for row in asked], gallery, listed)


def scenes_benchmark(instances: int) -> Benchmark:
    """Return a benchmark of held-out landmarks with 2 queries and 6 gallery views each, and 8 distractors for each.

    Args:
        instances: Number of landmarks, at least 1.
    """
    protocol = scenes_protocol(
        instances=instances,
        queries_each=_QUERIES_EACH,
        gallery_each=_GALLERY_EACH,
        distractors=_DISTRACTORS_EACH * instances,
        difficulty=_DIFFICULTY,
    )
    description = (
        f"procedural scenes, held out: {instances} landmarks x {_QUERIES_EACH} queries and {_GALLERY_EACH} gallery "
        f"views, {_DISTRACTORS_EACH * instances} distractors, difficulty {_DIFFICULTY:g}; whole image"
    )
    return protocol_benchmark(replace(protocol, description=description))
