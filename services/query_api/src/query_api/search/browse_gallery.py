"""Browsing: pages of the gallery, and the values of its payload keys."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from aff_shared.errors import GalleryMissingError, InvalidFilterError, StoreRejectedError
from aff_shared.schemas.browsing import (
    Facet,
    FacetOptions,
    FacetsResponse,
    FacetValue,
    GalleryImages,
    ListOptions,
)
from aff_shared.schemas.payload_filter import MAX_CONDITIONS, Condition, DatetimeRange, PayloadFilter, Scalar
from aff_shared.schemas.payload_schema import PayloadType
from aff_shared.store.gallery_store import GalleryStore
from query_api.search.active_model import ActiveModel
from query_api.search.search_queue import SearchQueue

_PAGE = 60
_VALUES = 20
_MAX_TEXT = 4096  # of a condition
# Years are found by halving; most galleries are of the third of these spans.
_SPANS = ((2064, 9999), (2000, 2063), (1900, 1999), (1, 1899))

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")


class BrowseGallery:
    """Reads the live collection, within the limits of searches.

    Args:
        gallery: Collection that searches use.
        queue: Limits concurrent searches.
        schema: Types of the indexed payload keys.
        max_limit: Maximum number of images of a page, and of values of a key.
    """

    def __init__(
        self, gallery: ActiveModel, queue: SearchQueue, schema: Mapping[str, PayloadType], max_limit: int
    ) -> None:
        self._gallery = gallery
        self._queue = queue
        self._schema = schema
        self._max_limit = max_limit

    async def images(self, options: ListOptions) -> GalleryImages:
        """Return a page of the gallery.

        Raises:
            InvalidParameterError: The cursor is malformed, or one of another order.
            StoreError: The gallery is missing or unavailable.
        """
        limit = options.limit or min(_PAGE, self._max_limit)

        async def read(store: GalleryStore) -> GalleryImages:
            page = await store.records(
                limit=limit, order=options.order, cursor=options.cursor, payload_filter=options.filter
            )
            return GalleryImages(
                images=[record.described() for record in page.records],
                next_cursor=page.cursor,
                total=await store.count(options.filter),
            )

        return await self._run(read)

    async def facets(self, options: FacetOptions) -> FacetsResponse:
        """Return the values of the indexed keys that images have; of `float` and `geo` there are none.

        A key that identifies single images, such as a file name, has more values than are returned and none of them
        twice; it is left out. So is a key that the store has not indexed.

        Raises:
            StoreError: The gallery is missing or unavailable.
        """
        limit = options.limit or min(_VALUES, self._max_limit)

        async def read(store: GalleryStore) -> FacetsResponse:
            found = [await self._facet(store, key, kind, limit, options.filter) for key, kind in self._schema.items()]
            return FacetsResponse(facets=[facet for facet in found if facet is not None and facet.values])

        return await self._run(read)

    async def _run(self, read: Callable[[GalleryStore], Awaitable[_Result]]) -> _Result:
        async with self._queue.place():
            try:
                return await read((await self._gallery.serving()).store)
            except GalleryMissingError:  # the collection was dropped after a switch
                self._gallery.forget()
                return await read((await self._gallery.serving()).store)

    async def _facet(
        self, store: GalleryStore, key: str, kind: PayloadType, limit: int, chosen: PayloadFilter | None
    ) -> Facet | None:
        try:
            if kind == "datetime":
                return Facet(key=key, type=kind, values=await _years(store, key, limit, chosen))
            if kind in {"keyword", "integer", "bool"}:
                counts = await store.facet(key, limit=limit, payload_filter=chosen)
                if len(counts) == limit > 1 and counts[0][1] == 1:
                    return None
                return Facet(key=key, type=kind, values=[_value(key, *one) for one in counts if _fits(one[0])])
        except (StoreRejectedError, InvalidFilterError) as error:
            if isinstance(error, InvalidFilterError) and error.item != key:
                raise  # the caller's filter
            _logger.warning("the values of the payload key %s cannot be counted: %s", key, error)
        return None


def _fits(value: Scalar) -> bool:
    """Return whether a condition can have this value."""
    return not isinstance(value, str) or len(value) <= _MAX_TEXT


def _value(key: str, value: Scalar, count: int) -> FacetValue:
    label = str(value).lower() if isinstance(value, bool) else str(value)
    return FacetValue(value=value, label=label, count=count, condition=Condition(key=key, match=value))


async def _years(store: GalleryStore, key: str, limit: int, chosen: PayloadFilter | None) -> list[FacetValue]:
    """Return at most `limit` years in which a date is, the latest first, with the number of images."""
    found: list[FacetValue] = []
    spans = [*reversed(_SPANS)]
    while spans and len(found) < limit:
        first, last = spans.pop()
        condition = Condition(key=key, datetime_range=_between(first, last))
        narrowed = _with(chosen, condition)
        if first == last:
            if count := await store.count(narrowed):
                found.append(FacetValue(value=first, label=str(first), count=count, condition=condition))
        elif (await store.records(limit=1, order="id", payload_filter=narrowed)).records:  # counts cost more
            middle = (first + last) // 2
            spans += [(first, middle), (middle + 1, last)]
    return found


def _between(first: int, last: int) -> DatetimeRange:
    end = datetime(last, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
    start = datetime(first, 1, 1, tzinfo=UTC)
    try:
        return DatetimeRange(gte=start, lt=end + timedelta(microseconds=1))
    except OverflowError:  # the last year that there is
        return DatetimeRange(gte=start, lte=end)


def _with(chosen: PayloadFilter | None, condition: Condition) -> PayloadFilter:
    """Return a filter that also requires a condition.

    Raises:
        InvalidFilterError: The filter has as many conditions as one may have.
    """
    if chosen is None:
        return PayloadFilter(must=[condition])
    if len(chosen.must) + len(chosen.should) + len(chosen.must_not) >= MAX_CONDITIONS:
        raise InvalidFilterError(f"for counting, a filter has less than {MAX_CONDITIONS} conditions", item="filter")
    return PayloadFilter(must=[*chosen.must, condition], should=chosen.should, must_not=chosen.must_not)
