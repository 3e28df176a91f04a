"""Requests and responses for browsing the gallery."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_serializer

from aff_shared.schemas import examples
from aff_shared.schemas.indexing import GalleryImage
from aff_shared.schemas.payload_filter import Condition, PayloadFilter, Scalar, parse_filter
from aff_shared.schemas.payload_schema import PayloadType

GalleryOrder = Literal["newest", "oldest", "id"]

FilterText = Annotated[
    PayloadFilter | None,
    BeforeValidator(parse_filter, json_schema_input_type=str | None),
    Field(
        title="Filter",
        description="Payload filter, as JSON text: must, should and must_not hold conditions with a key and one "
        "of match, any_of, range, datetime_range, geo_radius, geo_box.",
        examples=['{"must": [{"key": "city", "match": "Paris"}]}'],
    ),
]
"""A payload filter as a query parameter."""


class ListOptions(BaseModel):
    """Query parameters of `GET /images`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[
        int | None,
        Field(
            ge=1, description="Maximum number of images, 60 by default; the service has an upper limit.", examples=[60]
        ),
    ] = None
    order: Annotated[
        GalleryOrder,
        Field(
            description="`newest`: by falling `indexed_at`; `oldest`: by rising; `id`: in a fixed order that has no "
            "meaning.",
            examples=["newest"],
        ),
    ] = "newest"
    cursor: Annotated[
        str | None,
        Field(
            max_length=100,
            description="`next_cursor` of the page before.",
            examples=["n1714555800000000"],
        ),
    ] = None
    filter: FilterText = None


class GalleryImages(BaseModel):
    """Response of `GET /images`: a page of the gallery.

    Attributes:
        images: The images of this page.
        next_cursor: Cursor of the next page; null on the last one. Pages contain every image that remains in the
            gallery exactly once, while others are added and deleted.
        total: Number of images that the filter matches.
    """

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.GALLERY_IMAGES))

    images: list[GalleryImage]
    next_cursor: str | None
    total: int


class FacetOptions(BaseModel):
    """Query parameters of `GET /facets`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    limit: Annotated[
        int | None,
        Field(
            ge=1,
            description="Maximum number of values of a key, 20 by default; the service has an upper limit.",
            examples=[20],
        ),
    ] = None
    filter: FilterText = None


class FacetValue(BaseModel):
    """A value of a payload key.

    Attributes:
        value: The value; the year of a date and time.
        label: Text that represents it.
        count: Number of images that have it.
        condition: Condition of a payload filter that matches these images.
    """

    model_config = ConfigDict(frozen=True)

    value: Scalar
    label: str
    count: int
    condition: Condition

    @field_serializer("condition")
    def _without_nulls(self, condition: Condition) -> dict[str, Any]:
        return condition.model_dump(mode="json", exclude_none=True)


class Facet(BaseModel):
    """The values of a payload key: the most frequent first; of dates, the latest year."""

    model_config = ConfigDict(frozen=True)

    key: str
    type: PayloadType
    values: list[FacetValue]


class FacetsResponse(BaseModel):
    """Response of `GET /facets`: the declared payload keys that images have."""

    model_config = ConfigDict(frozen=True, json_schema_extra=examples.shown(examples.FACETS))

    facets: list[Facet]


class PageConfig(BaseModel):
    """Response of `GET /page/config.json`.

    Attributes:
        indexer: Address of the gallery indexer, or its path on this origin; null if there is none.
        originals: Whether `GET /originals` is enabled.
        schema_: Declared payload keys, with their types.
        max_limit: Maximum of the option `limit`.
        version: Version of the service.
    """

    model_config = ConfigDict(
        frozen=True, serialize_by_alias=True, json_schema_extra=examples.shown(examples.PAGE_CONFIG)
    )

    indexer: str | None
    originals: bool
    schema_: Annotated[dict[str, PayloadType], Field(serialization_alias="schema")]
    max_limit: int
    version: str
