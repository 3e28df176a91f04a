"""The accuracy of each step of the live path, from the network in torch to the browser."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aff_benchmarks.bench.synthetic_gallery import collection_directory, exact_neighbours, synthetic_point, write_points
from aff_client import SearchClient
from aff_client.index_client import IndexerClient, Upload
from aff_shared.bundles.bundle import BundleManifest, load_manifest
from aff_shared.schemas.embedding_space import EmbeddingSpace
from aff_shared.schemas.preprocessing import preprocess
from aff_shared.store.embedded.shard import EdgeGallery
from aff_shared.store.settings import Quantization, StoreSettings
from aff_toolkit.data.scenes import render_view
from aff_toolkit.evaluation.protocols import Protocol
from aff_toolkit.evaluation.retrieval_scores import score_positions
from aff_toolkit.evaluation.revisited_scores import positions_of
from aff_toolkit.export.query_encoder_graph import quantise_query_encoder
from aff_toolkit.local.local_service import local_services
from aff_toolkit.models.base_bundle import load_onnx_weights
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.stages.evaluate_bundle import embed_photographs
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

_HITS = 100
_BATCH = 32
_THREADS = 2

Embeddings = NDArray[np.float32]
Rows = list[list[int]]
Embed = Callable[[list[NDArray[np.uint8]]], Embeddings]

_TORCH, _ONNX = "torch, float32", "ONNX, float32"
_STORES: dict[str, Quantization] = {"float32": "none", "int8": "int8", "turbo4": "turbo4"}
_SCANNED = "a gallery this small is scanned without its graph; for the graph's recall see the store section"
_MADE_HERE = (
    "quantised for this comparison: the bundle has no int8 graph (rejected by its gate of half a point, or off)"
)
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_TIMEOUT_MS = 20_000


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the path.

    Attributes:
        before: Name of the step to compare with; None for the first.
        map_at_100: Asymmetric mAP@100, 0 to 1; None if not measured.
        note: Remark, or the reason why it was not measured.
    """

    name: str
    before: str | None
    map_at_100: float | None
    note: str = ""


def live_steps(bundle: Path, protocol: Protocol) -> list[Step]:
    """Measure the asymmetric mAP@100 of every step, always with the same gallery embeddings."""
    manifest = load_manifest(bundle)
    pixels = [photograph.load() for photograph in protocol.queries]
    gallery = embed_photographs(protocol.gallery, GalleryEncoder.load(bundle, manifest, device="auto").encode)
    steps, found = [], {}
    for name, before, embed, note in _encoders(bundle, manifest):
        found[name] = np.concatenate([embed(pixels[start : start + _BATCH]) for start in range(0, len(pixels), _BATCH)])
        nearest = exact_neighbours([gallery], found[name], _HITS)
        steps.append(Step(name, before, _map_at_100(protocol, nearest), note))
    for name, quantization in _STORES.items():
        mean = _map_at_100(protocol, _stored(gallery, found[_ONNX], quantization))
        steps.append(Step(f"embedded store, {name}", _ONNX, mean, _SCANNED))
    return steps + _over_http(bundle, protocol, pixels, gallery)


def _map_at_100(protocol: Protocol, rows: Rows | NDArray[np.int64]) -> float:
    relevance = protocol.relevance()
    judged = zip(rows, relevance.relevant, relevance.ignored, strict=True)
    positions = [positions_of(np.asarray(row, np.int64), positive, junk) for row, positive, junk in judged]
    return score_positions(positions, [len(one) for one in relevance.relevant], len(protocol.gallery)).map_at_100


def _encoders(bundle: Path, manifest: BundleManifest) -> Iterator[tuple[str, str | None, Embed, str]]:
    """Yield every form of the query encoder: its name, the one to compare with, its function, and a remark."""
    spec, graph = manifest.query_encoder, bundle / manifest.query_encoder.model
    calibration = np.stack(
        [preprocess(render_view(number, 0, size=(160, 160)), spec.preprocessing) for number in range(256)]
    )
    in_torch = _in_torch(bundle, manifest, calibration)
    if in_torch is not None:
        yield _TORCH, None, in_torch, ""
    opened = OnnxQueryEncoder.open(graph, spec.preprocessing, manifest.space.dimension, threads=_THREADS)
    yield _ONNX, None if in_torch is None else _TORCH, opened.encode, ""
    with tempfile.TemporaryDirectory() as directory:
        int8, note = bundle / (spec.int8_model or ""), ""
        if spec.int8_model is None:
            int8, note = Path(directory, "int8.onnx"), _MADE_HERE
            quantise_query_encoder(graph, np.split(calibration, range(_BATCH, len(calibration), _BATCH)), int8)
        dimension = manifest.space.dimension
        opened = OnnxQueryEncoder.open(int8, spec.preprocessing, dimension, threads=_THREADS, precision="int8")
        yield "ONNX, int8", _ONNX, opened.encode, note


def _in_torch(bundle: Path, manifest: BundleManifest, calibration: NDArray[np.uint8]) -> Embed | None:
    """Return the network of the graph in torch; None if this release lacks the architecture."""
    spec = manifest.query_encoder
    known = [one for one in QUERY_BACKBONES.values() if one.architecture == spec.architecture]
    if not known:
        return None
    network = known[0].build(manifest.space.dimension)
    load_onnx_weights(network, bundle / spec.model, torch.from_numpy(calibration))

    @torch.inference_mode()
    def embed(images: list[NDArray[np.uint8]]) -> Embeddings:
        batch = np.stack([preprocess(image, spec.preprocessing) for image in images])
        embeddings: Embeddings = network(torch.from_numpy(batch)).numpy()
        return embeddings

    return embed


def _stored(gallery: Embeddings, queries: Embeddings, quantization: Quantization) -> Rows:
    """Search an embedded gallery with a graph."""
    space = EmbeddingSpace(id="0" * 64, dimension=gallery.shape[1])
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "gallery"
        settings = StoreSettings(url="", edge_path=path, quantization=quantization, indexing_threshold_kb=1)
        points = [synthetic_point(row, vector) for row, vector in enumerate(gallery)]
        asyncio.run(write_points(settings, space, [points]))
        with closing(EdgeGallery(collection_directory(path), settings)) as opened:
            row_of = {point.record.item_id: row for row, point in enumerate(points)}
            return [[row_of[hit.record.item_id] for hit in opened.search(query, limit=_HITS)] for query in queries]


def _over_http(
    bundle: Path, protocol: Protocol, pixels: Sequence[NDArray[np.uint8]], gallery: Embeddings
) -> list[Step]:
    queries = [_png(image) for image in pixels]
    with (
        tempfile.TemporaryDirectory() as directory,
        local_services(bundle, Path(directory, "gallery"), Path(directory, "log")) as services,
        IndexerClient(services.indexer_url) as indexer,
        SearchClient(services.query_url) as searcher,
    ):
        for start in range(0, len(protocol.gallery), _BATCH):
            batch = enumerate(protocol.gallery[start : start + _BATCH], start)
            indexer.index([Upload(str(row), "image.png", _png(one.load())) for row, one in batch])
        rows = [[int(hit.id) for hit in searcher.search(query, limit=_HITS).hits] for query in queries]
        http = Step("both services over HTTP", _ONNX, _map_at_100(protocol, rows), "from PNG files of the same pixels")
        try:
            embeddings = browser_embeddings(services.query_url, queries)
        except BrowserMissingError as error:
            return [http, Step("encoded in Chromium", _ONNX, None, f"not measured: {error}")]
    in_browser = _map_at_100(protocol, exact_neighbours([gallery], embeddings, _HITS))
    return [http, Step("encoded in Chromium", _ONNX, in_browser, "the page's own runtime")]


def _png(pixels: NDArray[np.uint8]) -> bytes:
    encoded: bytes = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    return encoded


class BrowserMissingError(Exception):
    """The browser, its driver, or the page's runtime is missing."""


def find_chromium() -> str | None:
    """Return the path of the system's Chromium, or None."""
    return next((found for name in _BROWSERS if (found := shutil.which(name))), None)


def browser_embeddings(url: str, photographs: Sequence[bytes]) -> NDArray[np.float32]:
    """Encode PNG files on the page in headless Chromium; return the embeddings (Q, D) of its search requests.

    `url` is the address of a running query service with its page.

    Raises:
        BrowserMissingError: The browser cannot be used on this machine.
    """
    path = find_chromium()
    if path is None or find_spec("playwright") is None:
        raise BrowserMissingError("Chromium is not installed" if path is None else "playwright is not installed")
    from playwright.sync_api import Error  # noqa: PLC0415 - not on every machine

    try:
        return _sent(path, url, photographs)
    except Error as error:
        raise BrowserMissingError(f"Chromium failed: {str(error).splitlines()[0]}") from error


def _sent(path: str, url: str, photographs: Sequence[bytes]) -> NDArray[np.float32]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not on every machine

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        page.goto(url)
        if not page.request.get(f"{url}/page/ort/ort.wasm.min.mjs").ok:
            raise BrowserMissingError("the page's runtime is not built: make web")
        page.evaluate("localStorage.setItem('aff_on_this_device', 'yes')")
        page.reload()
        found = []
        for photograph in photographs:
            with page.expect_response("**/search/embedding") as answered:
                page.set_input_files("#file", {"name": "query", "mimeType": "image/png", "buffer": photograph})
            sent = json.loads(answered.value.request.post_data or "{}")
            found.append(np.frombuffer(base64.b64decode(sent["embedding"]), "<f4"))
        browser.close()
    return np.stack(found)
