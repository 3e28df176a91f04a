"""Computes and stores the rankings of an evaluation, with the encoders of each side."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_toolkit.errors import BenchmarkError
from aff_toolkit.evaluation.baselines import (
    COLOUR_HISTOGRAM_SIZE,
    FITTED_ON,
    ROOTSIFT_VLAD_SIZE,
    RootSiftVladBaseline,
    colour_histograms,
)
from aff_toolkit.evaluation.benchmark import Benchmark
from aff_toolkit.evaluation.embeddings import Embeddings, Encode, embed_photographs
from aff_toolkit.evaluation.evaluation_record import (
    BASELINE_DIMENSIONS,
    BASELINES,
    PAIRINGS,
    Bar,
    EvaluationConfig,
    EvaluationRecord,
    Method,
    Mode,
    Side,
    rankings_path,
)
from aff_toolkit.evaluation.given_features import save_features, save_names
from aff_toolkit.evaluation.rankings import Rankings, read_rankings, search_exactly, write_rankings
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

# Of queries and gallery together; RootSIFT and VLAD take about 50 ms and 33 kB of the disk for each.
BASELINES_UP_TO = 20_000

SearchLive = Callable[[Benchmark, BundleManifest, int], Rankings]
_BASELINE_SIZE = max(COLOUR_HISTOGRAM_SIZE, ROOTSIFT_VLAD_SIZE)
_SAVED_NAMES: dict[Side, str] = {"light": "query-encoder", "heavy": "mixer"}
_CODEBOOK = "rootsift-vlad.safetensors"
_ONNX_THREADS = 2


class ExportRankings:
    """Computes the rankings of a benchmark; an interrupted run resumes."""

    def __init__(self, config: EvaluationConfig, bundle: Path, directory: Path, bar: Bar) -> None:
        self._config = config
        self._bundle = bundle
        self._directory = directory
        self._bar = bar

    def run(
        self,
        modes: Sequence[Mode],
        search_live: SearchLive | None = None,
        *,
        baselines: bool | None = None,
        features: Path | None = None,
    ) -> EvaluationRecord:
        """Export the rankings of each mode, and of each baseline, that has none yet.

        Args:
            modes: Pairings of the encoders.
            search_live: Function that searches over HTTP, for `live` search; then there are no baselines.
            baselines: Whether the baselines are ranked too; None for a benchmark of up to 20,000 photographs.
            features: Directory in which the embeddings of the modes are saved; None to save none. Exact search only.

        Raises:
            BundleError: The bundle cannot be used.
            BenchmarkError: The benchmark cannot be used, or none of its photographs can be read.
            RankingsError: The directory contains another evaluation, or cannot be written.
            EncoderError: An encoder failed on a photograph that was read.
        """
        manifest = load_manifest(self._bundle)
        verify_files(self._bundle, manifest)
        encoders = SideEncoders(self._config, self._bundle, manifest, self._directory, self._bar)
        benchmark = encoders.benchmark("heavy")
        record = EvaluationRecord.of(self._config, manifest, benchmark)
        record.begin(self._directory)
        exact = _ExactExport(encoders, record, self._directory, self._bar)
        methods: list[Method] = [*modes]
        if search_live is None and _wanted(baselines, benchmark):
            methods += BASELINES
        for method in methods:
            path = rankings_path(self._directory, method)
            if path.exists():
                read_rankings(path, record.key)
                continue
            rankings = search_live(benchmark, manifest, self._config.depth) if search_live else exact.search(method)
            _require_readable(rankings, benchmark)
            write_rankings(path, rankings, record.key)
        if features is not None:
            exact.save(modes, features)
        return record


def _wanted(baselines: bool | None, benchmark: Benchmark) -> bool:
    if baselines is None:
        return len(benchmark.queries) + len(benchmark.gallery) <= BASELINES_UP_TO
    return baselines


class _ExactExport:
    """Embeds each part of the benchmark by each encoder once, and searches exactly."""

    def __init__(self, encoders: SideEncoders, record: EvaluationRecord, directory: Path, bar: Bar) -> None:
        self._encoders = encoders
        self._record = record
        self._directory = directory
        self._bar = bar
        self._embedded: dict[tuple[str, Side], tuple[Embeddings, float]] = {}

    def search(self, method: Method) -> Rankings:
        query_side, gallery_side = PAIRINGS[method]
        queries, query_seconds = self._embed("queries", query_side)
        gallery, gallery_seconds = self._embed("gallery", gallery_side)
        start = time.perf_counter()
        with self._bar(f"{method}: search", queries.count) as advance:
            labelled = self._encoders.benchmark(query_side).labelled()
            rankings = search_exactly(queries, gallery, labelled, self._record.config.depth, advance)
        searched = time.perf_counter() - start
        rankings.seconds.update(embed_queries=query_seconds, embed_gallery=gallery_seconds, search=searched)
        return rankings

    def save(self, modes: Sequence[Mode], directory: Path) -> None:
        """Write the embeddings of modes as `gallery-mixer.npy` and so on, and the names of their rows."""
        benchmark = self._encoders.benchmark("heavy")
        save_names(benchmark.gallery, directory / "gallery.txt")
        save_names(benchmark.queries, directory / "queries.txt")
        sides = {pair for mode in modes for pair in zip(("queries", "gallery"), PAIRINGS[mode], strict=True)}
        for part, side in sorted(sides):
            found, _ = self._embed(part, side)
            path = directory / f"{part}-{_SAVED_NAMES[side]}.npy"
            save_features(found, self._encoders.dimension(side), path)

    def _embed(self, part: str, side: Side) -> tuple[Embeddings, float]:
        if (part, side) not in self._embedded:
            benchmark = self._encoders.benchmark(side)
            photographs = benchmark.queries if part == "queries" else benchmark.gallery
            encode, dimension = self._encoders.encoder(side), self._encoders.dimension(side)
            start = time.perf_counter()
            with self._bar(f"{part}, {side} encoder", len(photographs)) as advance:
                directory = self._directory / "embeddings" / f"{part}-{side}"
                found = embed_photographs(photographs, encode, dimension, directory, self._record.key, advance)
            self._embedded[part, side] = found, time.perf_counter() - start
        return self._embedded[part, side]


def _require_readable(rankings: Rankings, benchmark: Benchmark) -> None:
    for part, unreadable, count in (
        ("gallery images", rankings.unreadable_gallery, len(benchmark.gallery)),
        ("queries", rankings.unreadable_queries, len(benchmark.queries)),
    ):
        if len(unreadable) == count:
            first = next(iter(unreadable.values()))
            raise BenchmarkError(f"none of its {count} {part} can be read: {first}", item=benchmark.name)


class SideEncoders:
    """Encoders by side, which are loaded or fitted on first use."""

    def __init__(
        self, config: EvaluationConfig, bundle: Path, manifest: BundleManifest, directory: Path, bar: Bar
    ) -> None:
        self._config = config
        self._bundle = bundle
        self._manifest = manifest
        self._directory = directory
        self._bar = bar
        self._encoders: dict[Side, Encode] = {}
        self._benchmarks: dict[int, Benchmark] = {}

    def encoder(self, side: Side) -> Encode:
        """Return the encoder.

        Raises:
            BundleError: The bundle cannot be used.
            RankingsNotWrittenError: The codebook of a baseline cannot be written.
        """
        if side not in self._encoders:
            self._encoders[side] = self._make(side)
        return self._encoders[side]

    def dimension(self, side: Side) -> int:
        """Return the dimension of the encoder's embeddings."""
        return BASELINE_DIMENSIONS[side] if side in BASELINES else self._manifest.space.dimension

    def benchmark(self, side: Side) -> Benchmark:
        """Return the benchmark whose photographs are decoded for the encoder.

        A large JPEG is decoded at a reduced size, which the bundle's inputs decide for the bundle, as its services do;
        the figures of a baseline must not depend on the bundle.
        """
        size = _BASELINE_SIZE if side in BASELINES else _largest_input(self._manifest)
        if size not in self._benchmarks:
            self._benchmarks[size] = self._config.benchmark.open(min_side=size)
        return self._benchmarks[size]

    def _make(self, side: Side) -> Encode:
        match side:
            case "heavy":
                return GalleryEncoder.load(self._bundle, self._manifest, device="auto").encode
            case "light":
                precision = self._config.precision
                return OnnxQueryEncoder.load(
                    self._bundle, self._manifest, threads=_ONNX_THREADS, precision=precision
                ).encode
            case "colour-histogram":
                return colour_histograms
            case "rootsift-vlad":
                return self._rootsift_vlad().encode

    def _rootsift_vlad(self) -> RootSiftVladBaseline:
        path = self._directory / "codebooks" / _CODEBOOK
        fitted = RootSiftVladBaseline.read(path)
        if fitted is None:
            gallery = self.benchmark("rootsift-vlad").gallery
            with self._bar("codebook, rootsift-vlad", min(FITTED_ON, len(gallery))) as advance:
                fitted = RootSiftVladBaseline.fit(gallery, advance)
            fitted.write(path)
        return fitted


def _largest_input(manifest: BundleManifest) -> int:
    """Return the side of the largest encoder input."""
    sizes = [manifest.query_encoder.preprocessing.size, *(e.preprocessing.size for e in manifest.extractors)]
    return max(sizes)
