"""The documented JSON form of a payload filter; both store adapters translate it to Qdrant's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from aff_contracts.errors import InvalidFilterError
from aff_contracts.schemas import examples

MAX_CONDITIONS = 64

PayloadKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_\-]+(\.[A-Za-z0-9_\-]+)*$", max_length=256)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Scalar = Annotated[str, Field(max_length=4096)] | bool | Int64


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(_Strict):
    """Numeric bounds; at least one."""

    gt: float | None = None
    gte: float | None = None
    lt: float | None = None
    lte: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Range:
        if self.gt is self.gte is self.lt is self.lte is None:
            raise ValueError("a range needs at least one of gt, gte, lt, lte")
        return self


class DatetimeRange(_Strict):
    """Bounds of a date and time (RFC 3339, with its offset from UTC); at least one."""

    model_config = ConfigDict(strict=False)

    gt: AwareDatetime | None = None
    gte: AwareDatetime | None = None
    lt: AwareDatetime | None = None
    lte: AwareDatetime | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> DatetimeRange:
        if self.gt is self.gte is self.lt is self.lte is None:
            raise ValueError("a datetime_range needs at least one of gt, gte, lt, lte")
        return self


class GeoPoint(_Strict):
    """A place on the earth, in degrees."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class GeoRadius(_Strict):
    """The places within a distance, in metres."""

    center: GeoPoint
    radius_m: float = Field(gt=0)


class GeoBox(_Strict):
    """The places between two parallels and two meridians."""

    top_left: GeoPoint
    bottom_right: GeoPoint


class Condition(_Strict):
    """One condition on one payload key; exactly one test.

    Attributes:
        key: Key of the caller's payload; a dot goes into a nested object.
        match: The value equals this one, or the list of values contains it.
        any_of: The value is one of these.
        range: The number lies within these bounds.
        datetime_range: The date and time, a text (RFC 3339), lies within these bounds.
        geo_radius: The place, an object with `lat` and `lon`, lies within this distance.
        geo_box: The place lies within this box.
    """

    key: PayloadKey
    match: Scalar | None = None
    any_of: Annotated[list[Scalar], Field(min_length=1, max_length=1024)] | None = None
    range: Range | None = None
    datetime_range: DatetimeRange | None = None
    geo_radius: GeoRadius | None = None
    geo_box: GeoBox | None = None

    @model_validator(mode="after")
    def _has_one_test(self) -> Condition:
        tests = (self.match, self.any_of, self.range, self.datetime_range, self.geo_radius, self.geo_box)
        if sum(test is not None for test in tests) != 1:
            raise ValueError(
                "a condition needs exactly one of match, any_of, range, datetime_range, geo_radius, geo_box"
            )
        if self.any_of is not None and len({isinstance(value, str) for value in self.any_of}) != 1:
            raise ValueError("any_of takes strings or integers, not both")
        if self.any_of is not None and any(isinstance(value, bool) for value in self.any_of):
            raise ValueError("any_of takes no booleans: use match")
        return self


class PayloadFilter(_Strict):
    """Which gallery images may be hits: all of `must`, at least one of `should`, none of `must_not`."""

    model_config = ConfigDict(json_schema_extra=examples.shown(examples.PAYLOAD_FILTER))

    must: list[Condition] = []
    should: list[Condition] = []
    must_not: list[Condition] = []

    @model_validator(mode="after")
    def _is_bounded(self) -> PayloadFilter:
        count = len(self.must) + len(self.should) + len(self.must_not)
        if count == 0:
            raise ValueError("a filter needs at least one condition")
        if count > MAX_CONDITIONS:
            raise ValueError(f"a filter takes at most {MAX_CONDITIONS} conditions, this one has {count}")
        return self


def parse_filter(text: str | None) -> PayloadFilter | None:
    """Read a filter from the JSON text of a request; blank or absent means none.

    Raises:
        InvalidFilterError: Not JSON, or not of the documented form; the detail names the place.
    """
    if text is None or not text.strip():
        return None
    try:
        return PayloadFilter.model_validate_json(text)
    except ValidationError as error:
        raise InvalidFilterError(describe_validation_error(error), item="filter") from error


def describe_validation_error(error: ValidationError) -> str:
    """Say in one line where a document fails, and why."""
    return "; ".join(_describe(problem) for problem in error.errors(include_url=False)[:3])


def _describe(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])
