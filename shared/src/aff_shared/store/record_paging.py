"""Pages of records by time, in an order without ties: by `indexed_at`, and among equal times by point id.

Qdrant scrolls either by point id from an offset, or by a value without one, and then ties have no order. So a page is
composed of both: a scroll by time, whose last group of equal times is read again by point id. A page takes three calls
at most, whatever the size of the gallery and of the groups.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, TypedDict

from aff_shared.errors import InvalidParameterError
from aff_shared.schemas.browsing import GalleryOrder
from aff_shared.store.gallery_store import GalleryRecord, RecordPage
from aff_shared.store.layout import point_id

_TICK = timedelta(microseconds=1)  # the resolution of times, here and in Qdrant
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_CURSOR = "not a cursor: send next_cursor unchanged"
_LAST_POINT = "f" * 32  # nothing follows it
_CURSOR = re.compile(r"(?P<order>[noi])(?P<time>-?\d{1,18})?(?:\.(?P<point>[0-9a-f]{32}))?")


class RecordScroll(TypedDict, total=False):
    """One scroll of the engine: by point id from `first` on, or by time from `start` on.

    Attributes:
        limit: Maximum number of records.
        first: Point id of the first record; without it and `order`, the scroll begins with the lowest.
        moment: Only images of this time.
        order: Order of the times; with it, `first` and `moment` are not set.
        start: First time.
    """

    limit: int
    first: str
    moment: datetime
    order: Literal["newest", "oldest"]
    start: datetime | None


ReadRecords = Callable[[RecordScroll], Awaitable[list[GalleryRecord]]]


@dataclass(frozen=True, slots=True)
class _Place:
    """The end of a page: after this time, or after this point of it; the order `id` has no time."""

    time: datetime | None = None
    point: str | None = None


async def read_page(read: ReadRecords, *, limit: int, order: GalleryOrder, cursor: str | None) -> RecordPage:
    """Return the next records.

    Args:
        read: Scrolls the engine once.
        limit: Maximum number of records.
        order: By falling or rising `indexed_at`, or by point id.
        cursor: Cursor of the page before; None for the first page.

    Raises:
        InvalidParameterError: The cursor is malformed, or one of another order.
    """
    place = None if cursor is None else _place_of(cursor, order)
    if order == "id":
        return await _page_by_point(read, limit, None if place is None else place.point)
    records = await _by_time(read, limit + 1, order, place)
    shown = records[:limit]
    if len(records) <= limit:
        return RecordPage(shown, None)
    last = shown[-1]
    is_within_a_group = records[limit].indexed_at == last.indexed_at
    return RecordPage(shown, _cursor_of(order, last, with_time=True, with_point=is_within_a_group))


async def _page_by_point(read: ReadRecords, limit: int, after: str | None) -> RecordPage:
    records = await read({"limit": limit + 1} | _from(after))
    more = len(records) > limit
    shown = records[:limit]
    return RecordPage(shown, _cursor_of("id", shown[-1], with_time=False, with_point=True) if more else None)


async def _by_time(
    read: ReadRecords, limit: int, order: Literal["newest", "oldest"], place: _Place | None
) -> list[GalleryRecord]:
    """Return the next records; of the last group of equal times at least one, which may not be the group's first."""
    records: list[GalleryRecord] = []
    start = None
    if place is not None and place.time is not None:
        if place.point is not None:
            records = await read({"limit": limit, "moment": place.time} | _from(place.point))
        start = place.time - _TICK if order == "newest" else place.time + _TICK
    wanted = limit - len(records)
    if not wanted:
        return records
    found = await read({"limit": wanted, "order": order, "start": start})
    found.sort(key=lambda record: point_id(record.item_id))
    found.sort(key=lambda record: record.indexed_at, reverse=order == "newest")
    if len(found) == wanted and wanted > 1 and found[-2].indexed_at == found[-1].indexed_at:
        moment = found[-1].indexed_at
        whole = [record for record in found if record.indexed_at != moment]
        tied = await read({"limit": wanted - len(whole), "moment": moment})
        if len(tied) < wanted - len(whole):  # some were deleted in between
            return await _by_time(read, limit, order, place)
        found = whole + tied
    return records + found


def _from(after: str | None) -> RecordScroll:
    return {} if after is None else {"first": str(uuid.UUID(int=uuid.UUID(after).int + 1))}


def _cursor_of(order: GalleryOrder, record: GalleryRecord, *, with_time: bool, with_point: bool) -> str:
    time = (record.indexed_at - _EPOCH) // _TICK if with_time else ""
    point = f".{uuid.UUID(point_id(record.item_id)).hex}" if with_point else ""
    return f"{order[0]}{time}{point}"


def _place_of(cursor: str, order: GalleryOrder) -> _Place:
    found = _CURSOR.fullmatch(cursor)
    if found is None or found["order"] != order[0] or (found["time"] is None) != (order == "id"):
        raise InvalidParameterError(f"not a cursor of the order {order}: send next_cursor unchanged", item="cursor")
    point = found["point"]
    try:
        time = None if found["time"] is None else _EPOCH + int(found["time"]) * _TICK
    except OverflowError as error:
        raise InvalidParameterError(_NO_CURSOR, item="cursor") from error
    has_neighbours = time is None or datetime.min < time.replace(tzinfo=None) < datetime.max
    if not has_neighbours or point == _LAST_POINT or (order == "id" and point is None):
        raise InvalidParameterError(_NO_CURSOR, item="cursor")
    return _Place(time, point)
