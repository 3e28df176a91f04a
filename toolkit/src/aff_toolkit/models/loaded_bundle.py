"""A bundle with its encoders: embeds queries and gallery images, and exports the query encoder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_shared.bundles.default_bundle import default_bundle
from aff_shared.errors import InvalidParameterError
from aff_shared.images.decoding import ImageLimits, decode_image
from aff_toolkit.data.photograph import load_photograph_file
from aff_toolkit.errors import ExportError
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.features.networks.layers import device_named
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.embedding.query_encoder import graph_path

# A path of an image file, its bytes, or (H, W, 3) uint8 upright RGB.
Image = str | Path | bytes | NDArray[np.uint8]
Embeddings = NDArray[np.float32]

_Precision = Literal["auto", "fp32", "int8"]
_CHANNELS = 3
_BATCH = 32


@dataclass(frozen=True)
class Bundle:
    """A bundle with verified files, whose encoders are loaded when they are first used.

    Attributes:
        directory: Directory of the bundle.
        manifest: Its manifest: `manifest.space.dimension` is D, `manifest.fingerprint` its identity.
        device: Device of the gallery encoder: `cpu`, `cuda`, or `auto` for CUDA if there is a GPU.
        precision: Precision of the query encoder: `fp32`, `int8`, or `auto` for int8 if the bundle has it.
        threads: Threads of the query encoder.
    """

    directory: Path
    manifest: BundleManifest
    device: str
    precision: _Precision
    threads: int

    @cached_property
    def query_encoder(self) -> OnnxQueryEncoder:
        """The query encoder, in ONNX Runtime on the CPU."""
        return OnnxQueryEncoder.load(self.directory, self.manifest, threads=self.threads, precision=self.precision)

    @cached_property
    def gallery_encoder(self) -> GalleryEncoder:
        """The extractors and the mixer, in torch."""
        return GalleryEncoder.load(self.directory, self.manifest, device=self.device)


def load_bundle(
    directory: str | Path | None = None,
    *,
    device: str = "auto",
    precision: _Precision = "auto",
    threads: int = 2,
) -> Bundle:
    """Read a bundle and verify its files.

    Args:
        directory: Directory of the bundle; None for the default bundle.
        device: See Bundle.
        precision: See Bundle.
        threads: See Bundle.

    Raises:
        BundleError: The bundle is missing, altered, or of a newer format.
        InvalidParameterError: There is no such device or precision, or `threads` is not at least 1.
    """
    device_named(device)
    if precision not in get_args(_Precision):
        raise InvalidParameterError(f"{precision!r} is not one of {', '.join(get_args(_Precision))}", item="precision")
    if not isinstance(threads, int) or threads < 1:
        raise InvalidParameterError(f"{threads!r} is not a number from 1", item="threads")
    place = default_bundle() if directory is None else Path(directory)
    manifest = load_manifest(place)
    verify_files(place, manifest)
    return Bundle(place, manifest, device, precision, threads)


def embed_query(bundle: Bundle, images: Image | Sequence[Image]) -> Embeddings:
    """Embed queries with the query encoder, as the query service does.

    Args:
        bundle: The bundle.
        images: One image, or B images of any sizes.

    Returns:
        (D,) float32 of one image, (B, D) of a sequence; unit length. Its product with gallery embeddings is the cosine.

    Raises:
        ImageError: An image cannot be decoded; the subclass is the cause. `item` is its path, or for bytes `images[2]`.
        PhotographUnreadableError: A file is missing, or is not a regular file.
        InvalidParameterError: An image is of another type, or an array is not (H, W, 3) uint8 or has no pixels.
        BundleError: The query encoder cannot be loaded; EncoderError: it fails.
    """
    encoder = bundle.query_encoder
    return _embed(encoder.encode, encoder.decode_min_side, images)


def embed_gallery(bundle: Bundle, images: Image | Sequence[Image]) -> Embeddings:
    """Embed gallery images with extractors and mixer, as the indexer does.

    Args:
        bundle: The bundle.
        images: One image, or B images of any sizes.

    Returns:
        (D,) float32 of one image, (B, D) of a sequence; unit length, in the space of embed_query.

    Raises:
        MissingExtraError: An extractor needs a package that is not installed.
        AffError: See embed_query.
    """
    sizes = (extractor.preprocessing.size for extractor in bundle.manifest.extractors)
    return _embed(bundle.gallery_encoder.encode, max(sizes), images)


def export_query_encoder(bundle: Bundle, path: str | Path) -> dict[str, Any]:
    """Write the query encoder's graph as an ONNX file, and what a program needs to run it as JSON next to it.

    Args:
        bundle: The bundle; its precision selects the graph.
        path: The ONNX file: `image` (B, S, S, 3) uint8 RGB in, `embedding` (B, D) float32 of unit length out. The JSON
            file has the same name and the suffix `.json`.

    Returns:
        The contents of the JSON file: fingerprint, space, precision, and the preprocessing of a photograph.

    Raises:
        BundleError: The graph cannot be loaded, or there is none of this precision.
        ExportError: A file cannot be written.
        InvalidParameterError: The suffix of `path` is that of the JSON file.
    """
    spec, target = bundle.manifest.query_encoder, Path(path)
    if target.suffix == ".json":
        raise InvalidParameterError("is that of the JSON file; use .onnx", item=str(target))
    precision = bundle.query_encoder.precision
    description = {
        "fingerprint": bundle.manifest.fingerprint,
        "space": bundle.manifest.space.model_dump(mode="json"),
        "precision": precision,
        "preprocessing": spec.preprocessing.model_dump(mode="json"),
    }
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(bundle.directory / graph_path(spec, precision), target)
        target.with_suffix(".json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"cannot be written: {error.strerror or error}", item=str(target)) from error
    return description


def _embed(encode: Any, min_side: int, images: Image | Sequence[Image]) -> Embeddings:
    single = not isinstance(images, Sequence) or isinstance(images, str | bytes)
    batch: Sequence[Image] = [images] if single else images  # type: ignore[list-item,assignment]
    names = ["images"] if single else [f"images[{row}]" for row in range(len(batch))]
    parts = [
        encode([_pixels(batch[row], min_side, names[row]) for row in range(len(batch))[first : first + _BATCH]])
        for first in range(0, len(batch), _BATCH)
    ]
    if not parts:
        raise InvalidParameterError("there is no image", item="images")
    embeddings: Embeddings = np.concatenate(parts)
    return embeddings[0] if single else embeddings


def _pixels(image: Image, min_side: int, name: str) -> NDArray[np.uint8]:
    if isinstance(image, bytes):
        return decode_image(image, ImageLimits(), min_side=min_side, name=name).pixels
    if isinstance(image, np.ndarray):
        if image.ndim != _CHANNELS or image.shape[2] != _CHANNELS or image.dtype != np.uint8 or not image.size:
            raise InvalidParameterError(f"is {image.dtype} {image.shape}, not uint8 (H, W, 3)", item=name)
        return image
    if isinstance(image, str | Path):
        return load_photograph_file(Path(image), min_side)
    detail = f"is of the type {type(image).__name__}, not a path, bytes or an array (H, W, 3) uint8{_hint(image)}"
    raise InvalidParameterError(detail, item=name)


def _hint(image: Any) -> str:
    return "; of an image of Pillow: numpy.asarray(image.convert('RGB'))" if hasattr(image, "convert") else ""
