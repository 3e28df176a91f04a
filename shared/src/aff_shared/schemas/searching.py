"""Requests and responses of the query service."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from aff_shared.schemas import examples
from aff_shared.schemas.browsing import FilterText
from aff_shared.schemas.embedding_space import EmbeddingSpace, Sha256
from aff_shared.schemas.indexing import JsonObject
from aff_shared.schemas.payload_filter import PayloadFilter, PayloadKey
from aff_shared.schemas.preprocessing import Preprocessing
from aff_shared.schemas.problem import Problem
from aff_shared.schemas.text_forms import decode_base64

_MAX_DIMENSION = 65_536


class HitOptions(BaseModel):
    """Options of every search.

    Every default is null, which generated clients leave out: an option is sent once, in the query or in the form.
    `HitArguments` lists the same options for Python clients.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[
        int | None,
        Field(ge=1, description="Maximum number of hits; the service has a default and an upper limit.", examples=[5]),
    ] = None
    score_threshold: Annotated[
        float | None,
        Field(ge=-1, le=1, allow_inf_nan=False, description="Minimum cosine similarity of a hit.", examples=[0.3]),
    ] = None
    group_by: Annotated[
        PayloadKey | None,
        Field(
            description="Payload key: of the images that share its value, only the nearest is a hit. Images "
            "without the key are left out.",
            examples=["place"],
        ),
    ] = None
    expand: Annotated[
        int | None,
        Field(
            ge=0,
            le=100,
            description="Alpha query expansion: the search is repeated with the mean of the query and this many first "
            "hits, weighted by their similarity. It finds more, and needs one more vector search. Null means 0: none.",
            examples=[3],
        ),
    ] = None
    with_embedding: Annotated[
        bool | None,
        Field(description="Whether the response contains the query's embedding; null means no.", examples=[True]),
    ] = None
    filter: PayloadFilter | None = None


class SearchOptions(HitOptions):
    """Query parameters of a search."""

    filter: FilterText = None


class PhotographOptions(SearchOptions):
    """Query parameters, or fields of the form, of a search with photographs."""

    crop: Annotated[
        str | None,
        Field(
            description="Region of the upright photograph to search with: x1,y1,x2,y2 in pixels.",
            examples=["120,40,620,480"],
        ),
    ] = None


class HitArguments(TypedDict, total=False):
    """`HitOptions` as keyword arguments of a Python client; None is not sent.

    Attributes:
        limit: Maximum number of hits.
        score_threshold: Minimum cosine similarity of a hit.
        filter: Payload filter: the model, its JSON text, or the equivalent Python object.
        group_by: Payload key; at most one hit is returned for each of its values.
        expand: Number of first hits that the query is expanded with.
        with_embedding: Whether the response contains the query's embedding.
    """

    limit: int | None
    score_threshold: float | None
    filter: PayloadFilter | Mapping[str, Any] | str | None
    group_by: str | None
    expand: int | None
    with_embedding: bool | None


class PhotographArguments(HitArguments, total=False):
    """`PhotographOptions` as keyword arguments of a Python client.

    Attributes:
        crop: Region of the upright photograph, "x1,y1,x2,y2" in pixels.
    """

    crop: str | None


def _numbers(value: Any) -> Any:
    """Read numbers that were sent as base64 of little-endian float32."""
    if not isinstance(value, str):
        return value
    data = decode_base64(value)
    if len(data) % 4:
        raise ValueError("base64 of little-endian float32 has a multiple of 4 bytes")
    return list(struct.unpack(f"<{len(data) // 4}f", data))


class EmbeddingSearch(HitOptions):
    """Body of `POST /search/embedding`: an embedding that the client computed.

    Attributes:
        embedding: D numbers of unit length, or a text: base64 of them as little-endian float32.
        fingerprint: Fingerprint of the encoder that made it, from `GET /encoder`.
        filter: Payload filter.
    """

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.EMBEDDING_SEARCH))

    embedding: Annotated[
        list[Annotated[float, Field(allow_inf_nan=False)]],
        Field(min_length=1, max_length=_MAX_DIMENSION),
        BeforeValidator(_numbers, json_schema_input_type=list[float] | str),
    ]
    fingerprint: Sha256


Strength = Literal["same", "likely", "weak"]


class SearchHit(BaseModel):
    """One gallery image.

    Attributes:
        score: Cosine similarity, from -1 to 1.
        strength: Meaning of the score: `same` if such hits nearly always show the same thing, `likely` if most do,
            otherwise `weak`; null if the bundle's scores were not calibrated.
        width: Pixels of the upright photograph.
        height: Pixels of the upright photograph.
        indexed_at: When the image was indexed last.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    score: float
    strength: Strength | None = None
    width: int
    height: int
    indexed_at: datetime
    payload: JsonObject


class SearchTimings(BaseModel):
    """Duration of each step of the search, in milliseconds."""

    model_config = ConfigDict(frozen=True)

    decode: float = Field(ge=0)
    encode: float = Field(ge=0)
    search: float = Field(ge=0)


class SearchResponse(BaseModel):
    """Response of a search; hits are sorted by descending score.

    Attributes:
        fingerprint: Fingerprint of the encoder.
        embedding: Embedding of the query before expansion; null if it was not requested.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.SEARCH_RESPONSE))

    hits: list[SearchHit]
    timings_ms: SearchTimings
    fingerprint: Sha256
    embedding: list[float] | None = None


class BatchResult(BaseModel):
    """Result of one photograph of a batch.

    Attributes:
        name: File name, if one was sent.
        result: Hits; null in case of an error.
        error: Cause of a failure.
    """

    model_config = ConfigDict(frozen=True)

    name: str | None
    result: SearchResponse | None = None
    error: Problem | None = None


class BatchResponse(BaseModel):
    """Response of `POST /search/batch`: a result for each photograph, in their order."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.BATCH_RESPONSE))

    results: list[BatchResult]


class EncoderFile(BaseModel):
    """A graph of the query encoder.

    Attributes:
        precision: Precision of its numbers.
        url: Path of the file on the service; its content never changes.
        sha256: SHA-256 of the file.
        size_bytes: Size of the file.
    """

    model_config = ConfigDict(frozen=True)

    precision: Literal["fp32", "int8"]
    url: str
    sha256: Sha256
    size_bytes: int


class EncoderDescription(BaseModel):
    """Response of `GET /encoder`: what a client needs to compute embeddings.

    The graph takes `image`, (B, size, size, 3) uint8, upright RGB, and returns `embedding`, (B, D) float32 of unit
    length. Photographs are resized to its input size by Pillow's antialiased bilinear filter.

    Attributes:
        fingerprint: Fingerprint that has to be sent with every embedding.
        space: Embedding space of the gallery.
        preprocessing: How photographs are resized to the input size.
        serving: Precision that this service uses.
        files: The graphs.
        licences: Licences of the bundle.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.ENCODER_DESCRIPTION))

    fingerprint: Sha256
    space: EmbeddingSpace
    preprocessing: Preprocessing
    serving: Literal["fp32", "int8"]
    files: list[EncoderFile]
    licences: list[str]
