"""What a landmark is drawn on: pixels, and the silhouette of what stands against the sky."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.scenes.palette import Colour

Pixels = NDArray[np.uint8]
Point = tuple[int, int]


class Canvas:
    """Pixels (S, S, 3) uint8 RGB and silhouette (S, S) uint8, 255 inside."""

    def __init__(self, size: int) -> None:
        self.pixels: Pixels = np.zeros((size, size, 3), np.uint8)
        self.silhouette: Pixels = np.zeros((size, size), np.uint8)

    def build(self, corners: Sequence[Point], colour: Colour) -> None:
        """Draw a polygon that belongs to the silhouette."""
        polygon = np.array(corners, dtype=np.int32)
        cv2.fillPoly(self.pixels, [polygon], colour, cv2.LINE_AA)
        cv2.fillPoly(self.silhouette, [polygon], 255, cv2.LINE_AA)

    def build_box(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Draw an upright rectangle that belongs to the silhouette."""
        self.build([(left, bottom), (left, top), (right, top), (right, bottom)], colour)

    def paint(self, corners: Sequence[Point], colour: Colour) -> None:
        """Draw a polygon on the front."""
        cv2.fillPoly(self.pixels, [np.array(corners, dtype=np.int32)], colour, cv2.LINE_AA)

    def box(self, left: int, top: int, right: int, bottom: int, colour: Colour) -> None:
        """Draw an upright rectangle on the front; its edges belong to it."""
        cv2.rectangle(self.pixels, (left, top), (right, bottom), colour, -1)

    def line(self, start: Point, end: Point, colour: Colour, thickness: int = 1) -> None:
        """Draw a line on the front."""
        cv2.line(self.pixels, start, end, colour, thickness)

    def disc(self, centre: Point, radius: int, colour: Colour) -> None:
        """Draw a disc on the front."""
        cv2.circle(self.pixels, centre, radius, colour, -1, cv2.LINE_AA)

    def arch(self, centre: Point, radius: int, colour: Colour) -> None:
        """Draw the upper half of a disc on the front."""
        cv2.ellipse(self.pixels, centre, (radius, radius), 0, 180, 360, colour, -1, cv2.LINE_AA)
