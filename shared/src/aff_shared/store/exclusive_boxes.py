"""Boxes of places as Qdrant takes them.

To Qdrant (1.19) a place on an edge of a box is outside. An index of places also loses some where a box reaches a pole,
or leaves out no more than a sliver of the way around the earth.
"""

from __future__ import annotations

import math

from aff_shared.schemas.payload_filter import GeoBox, GeoPoint

_NORTHERNMOST = 90 - 1e-9
_HALF_TURN = 180


def exclusive_boxes(box: GeoBox) -> list[tuple[GeoPoint, GeoPoint]]:
    """Return boxes that hold, without their edges, what a box holds with its own; a place at a pole is in none.

    Returns:
        Corners at the top left and at the bottom right of one box, or of two halves.
    """
    north = min(math.nextafter(box.top_left.lat, math.inf), _NORTHERNMOST)
    south = max(math.nextafter(box.bottom_right.lat, -math.inf), -_NORTHERNMOST)
    return [
        (GeoPoint(lat=north, lon=_beside(west, -math.inf)), GeoPoint(lat=south, lon=_beside(east, math.inf)))
        for west, east in _sides(box.top_left.lon, box.bottom_right.lon)
    ]


def _sides(west: float, east: float) -> list[tuple[float, float]]:
    """Return the western and the eastern side; those of both halves where the box goes around half of the earth."""
    width = 360.0 if (west, east) == (-_HALF_TURN, _HALF_TURN) else (east - west) % 360
    if width < _HALF_TURN:
        return [(west, east)]
    middle = west + width / 2
    middle -= 360 if middle > _HALF_TURN else 0
    return [(west, middle), (middle, east)]


def _beside(lon: float, direction: float) -> float:
    """Return the next longitude in a direction; 180 degrees east and west are one meridian."""
    if abs(lon) == _HALF_TURN:
        lon = math.copysign(_HALF_TURN, -direction)
    return math.nextafter(lon, direction)
