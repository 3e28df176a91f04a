"""Exports rankings: everything that takes the encoders and the photographs, and nothing that scores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aff_contracts.bundle import BundleManifest, load_manifest, verify_files
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_config import PAIRINGS, EvaluationConfig, Mode, Side
from aff_toolkit.evaluation.evaluation_errors import BenchmarkError
from aff_toolkit.evaluation.rankings.embeddings import Embeddings, Encode, embed_photographs
from aff_toolkit.evaluation.rankings.evaluation_record import EvaluationRecord, rankings_path
from aff_toolkit.evaluation.rankings.exact_search import search_exactly
from aff_toolkit.evaluation.rankings.progress import Bar
from aff_toolkit.evaluation.rankings.rankings import Rankings, read_rankings, write_rankings
from gallery_indexer.gallery_encoder import GalleryEncoder
from query_api.onnx_query_encoder import OnnxQueryEncoder

_ONNX_THREADS = 2

SearchLive = Callable[[Benchmark, BundleManifest, int], Rankings]


class ExportRankings:
    """Brings a benchmark's photographs to rankings, and goes on where it was stopped."""

    def __init__(self, config: EvaluationConfig, bundle: Path, directory: Path, bar: Bar) -> None:
        self._config = config
        self._bundle = bundle
        self._directory = directory
        self._bar = bar

    def run(self, modes: Sequence[Mode], search_live: SearchLive | None = None) -> EvaluationRecord:
        """Export the rankings of each mode that has none yet.

        Args:
            modes: Which encoders meet.
            search_live: Searches over HTTP, where the configuration says `live`.

        Raises:
            BundleError: The bundle cannot be used.
            BenchmarkError: The benchmark cannot be used, or none of its photographs can be read.
            RankingsError: The directory holds something else, or cannot be written.
            EncoderError: An encoder failed on a photograph that was read.
        """
        manifest = load_manifest(self._bundle)
        verify_files(self._bundle, manifest)
        benchmark = self._config.benchmark.open(min_side=_largest_input(manifest))
        record = EvaluationRecord.of(self._config, manifest, benchmark)
        record.begin(self._directory)
        exact = _ExactExport(benchmark, record, manifest, self._bundle, self._directory, self._bar)
        for mode in modes:
            path = rankings_path(self._directory, mode)
            if path.exists():
                read_rankings(path, record.key)
                continue
            rankings = search_live(benchmark, manifest, self._config.depth) if search_live else exact.search(mode)
            _require_readable(rankings, benchmark)
            write_rankings(path, rankings, record.key)
        return record


class _ExactExport:
    """Embeds each part of the benchmark by each encoder once, and searches exactly."""

    def __init__(
        self,
        benchmark: Benchmark,
        record: EvaluationRecord,
        manifest: BundleManifest,
        bundle: Path,
        directory: Path,
        bar: Bar,
    ) -> None:
        self._benchmark = benchmark
        self._record = record
        self._manifest = manifest
        self._bundle = bundle
        self._directory = directory
        self._bar = bar
        self._encoders: dict[Side, Encode] = {}
        self._embedded: dict[tuple[str, Side], tuple[Embeddings, float]] = {}

    def search(self, mode: Mode) -> Rankings:
        query_side, gallery_side = PAIRINGS[mode]
        queries, query_seconds = self._embed("queries", query_side)
        gallery, gallery_seconds = self._embed("gallery", gallery_side)
        start = time.perf_counter()
        with self._bar(f"{mode}: search", len(self._benchmark.queries)) as advance:
            labelled = self._benchmark.labelled()
            rankings = search_exactly(queries, gallery, labelled, self._record.config.depth, advance)
        searched = time.perf_counter() - start
        rankings.seconds.update(embed_queries=query_seconds, embed_gallery=gallery_seconds, search=searched)
        return rankings

    def _embed(self, part: str, side: Side) -> tuple[Embeddings, float]:
        if (part, side) not in self._embedded:
            photographs = self._benchmark.queries if part == "queries" else self._benchmark.gallery
            encode = self._encoder(side)
            start = time.perf_counter()
            with self._bar(f"{part}, {side} encoder", len(photographs)) as advance:
                directory = self._directory / "embeddings" / f"{part}-{side}"
                dimension = self._manifest.space.dimension
                found = embed_photographs(photographs, encode, dimension, directory, self._record.key, advance)
            self._embedded[part, side] = found, time.perf_counter() - start
        return self._embedded[part, side]

    def _encoder(self, side: Side) -> Encode:
        if side not in self._encoders:
            if side == "heavy":
                self._encoders[side] = GalleryEncoder.load(self._bundle, self._manifest, device="auto").encode
            else:
                precision = self._record.config.precision
                self._encoders[side] = OnnxQueryEncoder.load(
                    self._bundle, self._manifest, threads=_ONNX_THREADS, precision=precision
                ).encode
        return self._encoders[side]


def _largest_input(manifest: BundleManifest) -> int:
    """Return the side of the largest encoder input, which decides at what size a large JPEG is decoded."""
    sizes = [manifest.query_encoder.preprocessing.size, *(e.preprocessing.size for e in manifest.extractors)]
    return max(sizes)


def _require_readable(rankings: Rankings, benchmark: Benchmark) -> None:
    for part, unreadable, count in (
        ("gallery images", rankings.unreadable_gallery, len(benchmark.gallery)),
        ("queries", rankings.unreadable_queries, len(benchmark.queries)),
    ):
        if len(unreadable) == count:
            first = next(iter(unreadable.values()))
            raise BenchmarkError(f"none of its {count} {part} can be read: {first}", item=benchmark.name)
