"""Payload keys and filters in their documented JSON form; both store adapters convert them to Qdrant's."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from aff_shared.errors import InvalidFilterError
from aff_shared.schemas import examples

MAX_CONDITIONS = 64
MOMENT_FORM = "a text as in 2024-05-01T10:00:00+02:00 or 2024-05-01T08:00:00Z (RFC 3339)"

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)", re.ASCII)


def _require_rfc_3339(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    # Pydantic reads more than the stores do: seconds since 1970, minutes alone, a comma before the fraction.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC_3339.fullmatch(value)):
        try:
            return read(value)
        except ValidationError as error:  # hour 24, month 13, an offset of more than a day
            raise ValueError(f"{error.errors()[0]['msg']}: a date and time is {MOMENT_FORM}") from error
    raise ValueError(f"a date and time is {MOMENT_FORM}")


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("in UTC it is outside the years 1 to 9999") from error


Moment = Annotated[
    AwareDatetime, WrapValidator(_require_rfc_3339, json_schema_input_type=datetime), AfterValidator(_in_utc)
]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Scalar = Annotated[str, Field(max_length=4096)] | bool | Int64


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


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

    gt: Moment | None = None
    gte: Moment | None = None
    lt: Moment | None = None
    lte: Moment | None = None

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
    """The places between two parallels and two meridians, both inclusive.

    A box whose left side is east of its right side crosses the 180th meridian.
    """

    top_left: GeoPoint
    bottom_right: GeoPoint

    @model_validator(mode="after")
    def _is_upright(self) -> GeoBox:
        if self.top_left.lat < self.bottom_right.lat:
            raise ValueError("top_left is south of bottom_right")
        return self


class Condition(_Strict):
    """One condition on one payload key; exactly one test.

    Attributes:
        key: Payload key; a dot separates the names of nested objects. A name with a dot or a bracket is written
            in double quotes.
        match: The value equals this one, or the list of values contains it.
        any_of: The value is one of these.
        range: The number is within these bounds.
        datetime_range: The date and time, a text (RFC 3339), is within these bounds.
        geo_radius: The place, an object with `lat` and `lon`, is within this distance.
        geo_box: The place is within this box.
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
    """Conditions on the payload: all of `must`, at least one of `should`, none of `must_not`."""

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
    """Return one line with the place and the cause of validation errors."""
    return "; ".join(_describe(problem) for problem in error.errors(include_url=False)[:3])


def _describe(problem: Any) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']}" if place else str(problem["msg"])


_PART = r'(?:[^."\\\[\]\x00-\x1f\x7f]+|"[^"\\]*")'
_KEY = re.compile(rf"{_PART}(?:\.{_PART})*")
_ONE_PART = re.compile(r'"([^"]*)"|([^."]+)')


def key_parts(key: str) -> list[str]:
    """Return the names of a path into nested objects: `place."f.number"` is `place`, then `f.number`."""
    return [match[1] if match[1] is not None else match[2] for match in _ONE_PART.finditer(key)]


def _require_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError(
            "a key consists of names separated by dots, as in place.city; a name with a dot or a bracket is written "
            'in double quotes, as in "f.number"; a name with a double quote or a backslash is not supported'
        )
    return key


PayloadKey = Annotated[
    str, AfterValidator(_require_key), Field(max_length=256, json_schema_extra={"pattern": f"^{_KEY.pattern}$"})
]
