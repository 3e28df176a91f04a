"""One image of a source."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from aff_contracts.errors import AffError
from aff_contracts.schemas.indexing import JsonObject


class SourceError(AffError):
    """A source cannot be read, or one of its entries cannot be used."""

    code = "source_unusable"
    status = 422
    title = "Unusable source"


@dataclass(frozen=True, slots=True)
class SourceItem:
    """An image that is to be indexed.

    Attributes:
        id: The item's id in the gallery.
        location: Where it lies, for messages: a path, a URL, a member of a tar file.
        read: Gives the encoded image file; called once, perhaps in another thread. Raises SourceError, or what the file
            system raises.
        payload: JSON object that is kept with the image.
    """

    id: str
    location: str
    read: Callable[[], bytes]
    payload: JsonObject = field(default_factory=dict)


def unusable(item_id: str, location: str, detail: str) -> SourceItem:
    """Stand for an entry that cannot be used, so that it fails by its name and the others go on."""

    def fail() -> bytes:
        raise SourceError(detail, item=item_id)

    return SourceItem(item_id, location, fail)


def storable(item: SourceItem) -> SourceItem:
    """Return an item; one whose id or payload JSON cannot hold fails by its name.

    Sent along, it would have its whole batch refused: NaN, dates and bytes of Parquet, halves of UTF-16 pairs.
    """
    try:
        json.dumps([item.id, item.payload], allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        name = item.id.encode(errors="backslashreplace").decode()
        return unusable(name, item.location, f"id or payload is nothing that JSON can hold: {error}")
    return item
