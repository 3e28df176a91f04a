"""HTTP routes for the query encoder's files."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import FileResponse

from aff_shared.bundles.bundle import ServedManifest, verify_files
from aff_shared.errors import BundleError, EncoderFileNotFoundError, EncoderMissingError, StoreError
from aff_shared.schemas.embedding_space import Sha256
from aff_shared.schemas.examples import GRAPH_SHA256
from aff_shared.schemas.searching import EncoderDescription, EncoderFile
from aff_shared.web.problems import problem_responses
from aff_shared.web.routing import is_unchanged, scoped_router
from aff_shared.web.settings import Scope
from query_api.components import components_of
from query_api.embedding.query_encoder import Precision, graph_path, query_encoder_of
from query_api.search.active_model import ModelSnapshot

router = scoped_router(Scope.SEARCH)

_MEDIA_TYPE = "application/octet-stream"
_FILE = {_MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}
_UNCHANGED = {"description": "The description that the header If-None-Match names."}
_GRAPH: dict[int | str, dict[str, Any]] = {
    200: {"description": "The graph, in ONNX.", "content": _FILE},
    206: {"description": "The parts that the header Range selects.", "content": _FILE},
    304: {"description": "The graph that the header If-None-Match names."},
    416: {"description": "The header Range selects bytes outside the file."},
}


@router.get(
    "/encoder",
    tags=["encoder"],
    response_model=EncoderDescription,
    responses={**problem_responses(EncoderMissingError, StoreError, BundleError), 304: _UNCHANGED},
)
async def get_encoder(request: Request, response: Response) -> EncoderDescription | Response:
    """Return the description of the query encoder, with which clients can compute embeddings."""
    serving = await components_of(request).gallery.serving()
    described = describe_encoder(serving)
    # The service's precision and the licences are not part of the fingerprint.
    digest = hashlib.sha256(described.model_dump_json().encode()).hexdigest()
    headers = {"ETag": f'"{digest[:32]}"', "Cache-Control": "private, no-cache"}
    if is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return described


@router.get(
    "/encoder/model.onnx",
    tags=["encoder"],
    responses={
        **problem_responses(EncoderFileNotFoundError, EncoderMissingError, StoreError, BundleError),
        **_GRAPH,
    },
    response_class=Response,
)
async def get_encoder_model(
    request: Request,
    precision: Annotated[
        Precision | None,
        Query(description="Precision of the graph; by default, the one that the service uses.", examples=["int8"]),
    ] = None,
    sha256: Annotated[
        Sha256 | None,
        Query(description="SHA-256 of the graph; the response may be cached permanently.", examples=[GRAPH_SHA256]),
    ] = None,
) -> Response:
    """Return a graph of the query encoder in ONNX."""
    serving = await components_of(request).gallery.serving()
    graph = find_graph(serving, precision, sha256)
    lasting = "public, max-age=31536000, immutable" if graph.immutable else "public, no-cache"
    headers = {"ETag": f'"{graph.sha256}"', "Cache-Control": lasting}
    if is_unchanged(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    await asyncio.to_thread(require_whole, graph, serving)
    return FileResponse(graph.path, media_type=_MEDIA_TYPE, headers=headers)


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """A graph on disk.

    Attributes:
        path: Path of the file.
        sha256: SHA-256 of the file.
        immutable: Whether the request named the content, so that the answer never changes.
    """

    path: Path
    sha256: str
    immutable: bool


def describe_encoder(serving: ModelSnapshot) -> EncoderDescription:
    """Describe the encoder that the gallery is searched with; raises EncoderMissingError if there is none."""
    manifest, spec = serving.manifest, query_encoder_of(serving.manifest)
    return EncoderDescription(
        fingerprint=manifest.fingerprint,
        space=manifest.space,
        preprocessing=spec.preprocessing,
        serving=serving.require_graph().precision,
        files=_files(manifest),
        licences=list(manifest.licences),
    )


def find_graph(serving: ModelSnapshot, precision: Precision | None, sha256: str | None) -> ServedGraph:
    """Return a graph of the encoder.

    Args:
        serving: Model whose encoder is served.
        precision: Precision of the graph; None means the one that the service uses.
        sha256: SHA-256 of the graph, regardless of its precision.

    Raises:
        EncoderFileNotFoundError: There is no such graph; the encoder may have changed.
        EncoderMissingError: The gallery was imported without a query encoder.
    """
    loaded = serving.require_graph()
    requested = precision or loaded.precision
    for file in _files(serving.manifest):
        if file.sha256 == sha256 or (sha256 is None and file.precision == requested):
            path = loaded.bundle_path / graph_path(query_encoder_of(serving.manifest), file.precision)
            return ServedGraph(path, file.sha256, immutable=sha256 is not None)
    what = f"no graph of precision {requested}" if sha256 is None else f"no graph with the sha256 {sha256}"
    raise EncoderFileNotFoundError(
        f"the encoder has {what}; see GET /encoder", item="precision" if sha256 is None else "sha256"
    )


def require_whole(graph: ServedGraph, serving: ModelSnapshot) -> None:
    """Raise BundleError if the file has changed since it was loaded: clients may cache the response permanently."""
    directory = serving.require_graph().bundle_path
    verify_files(directory, serving.manifest, [graph.path.relative_to(directory).as_posix()])


def _files(manifest: ServedManifest) -> list[EncoderFile]:
    by_path = {file.path: file for file in manifest.files}
    spec = query_encoder_of(manifest)
    precisions: list[Precision] = ["fp32"] if spec.int8_model is None else ["int8", "fp32"]
    described = []
    for precision in precisions:
        file = by_path[graph_path(spec, precision)]
        url = f"/encoder/model.onnx?sha256={file.sha256}"
        described.append(EncoderFile(precision=precision, url=url, sha256=file.sha256, size_bytes=file.size_bytes))
    return described
