"""Which benchmark, and where its files lie."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_toolkit.errors import BenchmarkError
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.benchmarks.csv_file import csv_benchmark
from aff_toolkit.evaluation.benchmarks.folder import folder_benchmark
from aff_toolkit.evaluation.benchmarks.gldv2 import gldv2_benchmark
from aff_toolkit.evaluation.benchmarks.revisited import revisited_benchmark
from aff_toolkit.evaluation.benchmarks.scenes import scenes_benchmark

BenchmarkName = Literal["roxford5k", "rparis6k", "gldv2", "csv", "folder", "scenes"]


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
        """Name that tells one choice from another: `csv-open_set`, `scenes-150`, `roxford5k-distractors`."""
        if self.name == "scenes":
            return f"scenes-{self.instances}"
        if self.name in {"csv", "folder"} and self.path is not None:
            return f"{self.name}-{self.path.stem}"
        return f"{self.name}-distractors" if self.distractors else self.name

    def open(self, *, min_side: int | None = None) -> Benchmark:
        """Return the benchmark; no photograph is read yet.

        Args:
            min_side: See load_photograph_file.

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
        return _read(self.name, self.path, self.distractors, min_side)


def _read(name: BenchmarkName, path: Path, distractors: Path | None, min_side: int | None) -> Benchmark:
    match name:
        case "roxford5k" | "rparis6k":
            return revisited_benchmark(name, path, distractors=distractors, min_side=min_side)
        case "gldv2":
            return gldv2_benchmark(path, min_side=min_side)
        case "csv":
            return csv_benchmark(path, min_side=min_side)
        case _:
            return folder_benchmark(path, min_side=min_side)
