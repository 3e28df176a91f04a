"""Responses of the query service."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from aff_contracts.embedding_space import Sha256
from aff_contracts.schemas.indexing import JsonObject


class SearchHit(BaseModel):
    """One gallery image; `score` is the cosine similarity, from -1 to 1."""

    model_config = ConfigDict(frozen=True)

    id: str
    score: float
    payload: JsonObject


class SearchTimings(BaseModel):
    """Milliseconds spent in each step of the search."""

    model_config = ConfigDict(frozen=True)

    decode: float = Field(ge=0)
    encode: float = Field(ge=0)
    search: float = Field(ge=0)


class SearchResponse(BaseModel):
    """Answer of `POST /search`; hits stand by falling score."""

    model_config = ConfigDict(frozen=True)

    hits: list[SearchHit]
    timings_ms: SearchTimings
    fingerprint: Sha256
