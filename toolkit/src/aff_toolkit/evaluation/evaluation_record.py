"""Configuration of an evaluation, and its record in `evaluation.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aff_shared.bundles.bundle import BundleManifest
from aff_toolkit.errors import RankingsError, RankingsMismatchError, RankingsNotWrittenError
from aff_toolkit.evaluation.benchmark import Benchmark
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice

# Pairing of the bundle's encoders.
Mode = Literal["asymmetric", "symmetric", "light-only"]
# Baselines without training.
Baseline = Literal["colour-histogram", "rootsift-vlad"]
# What another program computed.
Given = Literal["features", "rankings"]
# A mode, a baseline, or what another program computed: has rankings, and a row in the report.
Method = Mode | Baseline | Given
Similarity = Literal["cosine", "inner-product"]

Side = Literal["light", "heavy"] | Baseline

MODES: tuple[Mode, ...] = ("asymmetric", "symmetric", "light-only")
BASELINES: tuple[Baseline, ...] = ("colour-histogram", "rootsift-vlad")
GIVEN: tuple[Given, ...] = ("features", "rankings")
BASELINE_DIMENSIONS: Mapping[str, int] = MappingProxyType({"colour-histogram": 512, "rootsift-vlad": 8192})

# The encoder of the queries, and that of the gallery, in the order of the report.
PAIRINGS: dict[Method, tuple[Side, Side]] = {
    "asymmetric": ("light", "heavy"),
    "symmetric": ("heavy", "heavy"),
    "light-only": ("light", "light"),
    "colour-histogram": ("colour-histogram", "colour-histogram"),
    "rootsift-vlad": ("rootsift-vlad", "rootsift-vlad"),
}
_RECORD_NAME = "evaluation.json"
Advance = Callable[[int], None]
Bar = Callable[[str, int], AbstractContextManager[Advance]]


class EvaluationConfig(BaseModel):
    """How an evaluation runs.

    Attributes:
        benchmark: Benchmark of the evaluation.
        search: `exact` compares every query with every gallery image; `live` searches over HTTP.
        depth: Gallery images kept per ranking. Exact search also stores the ranks of labelled images beyond it; live
            search does not.
        precision: Precision of the query encoder in exact search; in live search the services decide.
        given: Whether features or rankings of another program are scored; None for a bundle.
        similarity: How given features are compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    benchmark: BenchmarkChoice
    search: Literal["exact", "live"] = "exact"
    depth: int = Field(default=1000, ge=1)
    precision: Literal["auto", "fp32", "int8"] = "auto"
    given: Given | None = None
    similarity: Similarity = "cosine"


class EvaluationRecord(BaseModel):
    """Configuration and identities of an evaluation.

    Attributes:
        key: sha256 of all inputs of the rankings: benchmark, bundle, kind of search.
        benchmark_key: sha256 over photographs and ground truth: see Benchmark.key.
        bundle: Name of the bundle, or of the given files.
        fingerprint: Fingerprint of the bundle, or sha256 of the given files.
        space_id: ID of the embedding space; empty for given files.
        dimension: Dimension of the embeddings; 0 for given rankings.
        precision: Precision of the query encoder; `as given` for given files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    key: str
    benchmark_key: str
    config: EvaluationConfig
    bundle: str
    fingerprint: str
    space_id: str
    dimension: int
    precision: str

    @classmethod
    def of(cls, config: EvaluationConfig, manifest: BundleManifest, benchmark: Benchmark) -> EvaluationRecord:
        """Describe the evaluation of a bundle."""
        precision: str = config.precision
        if config.search == "live":
            precision = "as served"
        elif precision == "auto":
            precision = "int8" if manifest.query_encoder.int8_model else "fp32"
        path, benchmark_key = config.benchmark.path, benchmark.key()
        decides = [benchmark_key, str(path and path.resolve()), manifest.fingerprint, config.search, config.depth]
        return cls(
            key=hashlib.sha256(json.dumps([*decides, precision]).encode()).hexdigest(),
            benchmark_key=benchmark_key,
            config=config,
            bundle=manifest.name,
            fingerprint=manifest.fingerprint,
            space_id=manifest.space.id,
            dimension=manifest.space.dimension,
            precision=precision,
        )

    @classmethod
    def of_files(
        cls, config: EvaluationConfig, name: str, digest: str, benchmark: Benchmark, *, dimension: int = 0
    ) -> EvaluationRecord:
        """Describe the evaluation of given features or rankings.

        Args:
            config: With `given`.
            name: Names of the files.
            digest: sha256 of their contents.
            benchmark: The benchmark.
            dimension: Dimension of the features.
        """
        benchmark_key = benchmark.key()
        decides = [benchmark_key, digest, config.given, config.similarity, config.depth]
        return cls(
            key=hashlib.sha256(json.dumps(decides).encode()).hexdigest(),
            benchmark_key=benchmark_key,
            config=config,
            bundle=name,
            fingerprint=digest,
            space_id="",
            dimension=dimension,
            precision="as given",
        )

    @classmethod
    def read(cls, directory: Path) -> EvaluationRecord:
        """Read the record of a directory.

        Raises:
            RankingsError: There is none, or it is of another release.
        """
        path = directory / _RECORD_NAME
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise RankingsError(f"no evaluation there: {error.strerror}", item=str(path)) from error
        except ValidationError as error:
            raise RankingsError("written by another release; evaluate again", item=str(path)) from error

    def begin(self, directory: Path) -> None:
        """Write the record to a directory, or check that the directory has the same record.

        Raises:
            RankingsError: It holds a record of another release; as RankingsMismatchError, another evaluation; as
                RankingsNotWrittenError, it cannot be written.
        """
        path = directory / _RECORD_NAME
        if path.exists():
            found = EvaluationRecord.read(directory)
            if found.key != self.key:
                raise RankingsMismatchError(
                    f"holds another evaluation: {', '.join(self._differences(found))}; choose another --out",
                    item=str(directory),
                )
            return
        try:
            directory.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")  # a kill or a full disk leaves no partial record
            partial.write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")
            partial.rename(path)
        except OSError as error:
            raise RankingsNotWrittenError(str(error.strerror), item=str(path)) from error

    def _differences(self, found: EvaluationRecord) -> Iterator[str]:
        """Yield the differences from another record."""
        ours, theirs = self.config.benchmark, found.config.benchmark
        compared = {
            "benchmark": (theirs.name, ours.name),
            "path": (theirs.path, ours.path),
            "bundle or files": (found.fingerprint[:12], self.fingerprint[:12]),
            "similarity": (found.config.similarity, self.config.similarity),
            "search": (found.config.search, self.config.search),
            "depth": (found.config.depth, self.config.depth),
            "precision": (found.precision, self.precision),
        }
        yield from (f"{name} {theirs}, not {ours}" for name, (theirs, ours) in compared.items() if theirs != ours)
        if ours.name == theirs.name and found.benchmark_key != self.benchmark_key:
            yield "other photographs or labels"


def rankings_path(directory: Path, method: Method) -> Path:
    """Return the path of the rankings of a mode or a baseline."""
    return directory / "rankings" / f"{method}.safetensors"
