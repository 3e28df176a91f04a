"""One image of a source."""

from __future__ import annotations

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
