"""The encoder of each side of a pairing: the bundle's two, and the baselines that need no training."""

from __future__ import annotations

from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest
from aff_toolkit.evaluation.baselines.colour_histogram import COLOUR_HISTOGRAM_SIZE, colour_histograms
from aff_toolkit.evaluation.baselines.rootsift_vlad import FITTED_ON, ROOTSIFT_VLAD_SIZE, RootSiftVladBaseline
from aff_toolkit.evaluation.benchmarks.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_config import BASELINE_DIMENSIONS, BASELINES, EvaluationConfig, Side
from aff_toolkit.evaluation.rankings.embeddings import Encode
from aff_toolkit.evaluation.rankings.progress import Bar
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

_BASELINE_SIZE = max(COLOUR_HISTOGRAM_SIZE, ROOTSIFT_VLAD_SIZE)
_CODEBOOK = "rootsift-vlad.safetensors"
_ONNX_THREADS = 2


class SideEncoders:
    """Loads or fits each encoder when it is first asked for, and keeps it."""

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
            RankingsNotWrittenError: The disk refuses the codebook of a baseline.
        """
        if side not in self._encoders:
            self._encoders[side] = self._make(side)
        return self._encoders[side]

    def dimension(self, side: Side) -> int:
        """Return D of what the encoder gives."""
        return BASELINE_DIMENSIONS[side] if side in BASELINES else self._manifest.space.dimension

    def benchmark(self, side: Side) -> Benchmark:
        """Return the benchmark whose photographs are decoded for the encoder.

        A large JPEG is decoded at a reduced size, which the bundle's inputs decide for the bundle, as its services do;
        the figures of a baseline must not depend on the bundle that it stands beside.
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
