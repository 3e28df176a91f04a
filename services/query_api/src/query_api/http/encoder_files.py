"""The query encoder of the live bundle, as it is given to devices that encode by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aff_shared.bundles.bundle import BundleManifest, verify_files
from aff_shared.errors import EncoderFileNotFoundError
from aff_shared.schemas.searching import EncoderDescription, EncoderFile
from query_api.embedding.query_encoder import Precision, graph_path
from query_api.search.active_model import ModelSnapshot


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """A graph on disk.

    Attributes:
        path: Of the file.
        sha256: Of the file.
        immutable: Whether the request named the content, so that the answer never changes.
    """

    path: Path
    sha256: str
    immutable: bool


def describe_encoder(serving: ModelSnapshot) -> EncoderDescription:
    """Describe the encoder that the gallery is searched with."""
    manifest = serving.manifest
    return EncoderDescription(
        fingerprint=manifest.fingerprint,
        space=manifest.space,
        preprocessing=manifest.query_encoder.preprocessing,
        serving=serving.graph.precision,
        files=_files(manifest),
        licences=list(manifest.licences),
    )


def find_graph(serving: ModelSnapshot, precision: Precision | None, sha256: str | None) -> ServedGraph:
    """Return a graph of the encoder.

    Args:
        serving: Whose encoder.
        precision: Of the graph; None means the one that the service itself encodes with.
        sha256: Of the graph, whatever its precision.

    Raises:
        EncoderFileNotFoundError: There is no such graph; the encoder may have changed.
    """
    wanted = precision or serving.graph.precision
    for file in _files(serving.manifest):
        if file.sha256 == sha256 or (sha256 is None and file.precision == wanted):
            path = serving.graph.bundle_path / graph_path(serving.manifest.query_encoder, file.precision)
            return ServedGraph(path, file.sha256, immutable=sha256 is not None)
    what = f"no graph of precision {wanted}" if sha256 is None else f"no graph with the sha256 {sha256}"
    raise EncoderFileNotFoundError(
        f"the encoder has {what}; see GET /encoder", item="precision" if sha256 is None else "sha256"
    )


def require_whole(graph: ServedGraph, serving: ModelSnapshot) -> None:
    """Raise BundleError where the file is not the one that was loaded: what is given may be kept for ever."""
    verify_files(
        serving.graph.bundle_path, serving.manifest, [graph.path.relative_to(serving.graph.bundle_path).as_posix()]
    )


def _files(manifest: BundleManifest) -> list[EncoderFile]:
    by_path = {file.path: file for file in manifest.files}
    precisions: list[Precision] = ["fp32"] if manifest.query_encoder.int8_model is None else ["int8", "fp32"]
    described = []
    for precision in precisions:
        file = by_path[graph_path(manifest.query_encoder, precision)]
        url = f"/encoder/model.onnx?sha256={file.sha256}"
        described.append(EncoderFile(precision=precision, url=url, sha256=file.sha256, size_bytes=file.size_bytes))
    return described
