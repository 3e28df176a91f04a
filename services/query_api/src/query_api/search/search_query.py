"""What a search is to give."""

from __future__ import annotations

from dataclasses import dataclass

from aff_shared.errors import InvalidParameterError
from aff_shared.schemas.payload_filter import PayloadFilter
from aff_shared.schemas.searching import HitOptions
from query_api.settings import QuerySettings


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What a search is to give.

    Attributes:
        limit: Most hits, at least 1.
        payload_filter: Only gallery images that it matches.
        score_threshold: Only gallery images of at least this cosine similarity.
        group_by: Key of the payload of which every value gives one hit at most.
        expand: Hits that the query is expanded with.
        with_embedding: Whether the answer holds the query's embedding.
    """

    limit: int
    payload_filter: PayloadFilter | None = None
    score_threshold: float | None = None
    group_by: str | None = None
    expand: int = 0
    with_embedding: bool = False


def search_query(options: HitOptions, payload_filter: PayloadFilter | None, settings: QuerySettings) -> SearchQuery:
    """Take what is wanted out of a request's options.

    Raises:
        InvalidParameterError: `limit` is over the service's maximum.
    """
    limit = options.limit or settings.default_limit
    if limit > settings.max_limit:
        raise InvalidParameterError(f"at most {settings.max_limit}, not {limit}", item="limit")
    return SearchQuery(
        limit=limit,
        payload_filter=payload_filter,
        score_threshold=options.score_threshold,
        group_by=options.group_by,
        expand=options.expand or 0,
        with_embedding=bool(options.with_embedding),
    )
