"""Limit on the pixels of large images that a service decodes at the same time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aff_shared.errors import ServiceOverloadedError
from aff_shared.images.decoding import ImageLimits
from aff_shared.images.size import announced_pixels

_RETRY_AFTER_S = 2


class PixelBudget:
    """Large images wait for each other, in order of arrival; others never wait.

    Args:
        max_pixels: Maximum pixels of large images at the same time; a single one may have more.
        limits: Limits on an image, with the size of large ones.
        max_waiting: Maximum number of waiting images.
        max_wait_s: Maximum wait, in seconds.
    """

    def __init__(
        self, max_pixels: int, limits: ImageLimits, *, max_waiting: float = math.inf, max_wait_s: float | None = None
    ) -> None:
        self._max_pixels = max_pixels
        self._limits = limits
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._pixels = 0
        self._waiting = 0
        self._turn = asyncio.Lock()
        self._released = asyncio.Event()

    @asynccontextmanager
    async def holding(self, images: Iterable[bytes]) -> AsyncIterator[None]:
        """Reserve the pixels of the largest of several image files, which are decoded one after the other.

        Raises:
            ServiceOverloadedError: It is large, and too many images are waiting, or it waited too long.
        """
        pixels = max((min(announced_pixels(image), self._limits.max_pixels) for image in images), default=0)
        if pixels <= self._limits.large_pixels:
            yield
            return
        await self._take(pixels)
        try:
            yield
        finally:
            self._pixels -= pixels
            self._released.set()

    async def _take(self, pixels: int) -> None:
        if self._waiting >= self._max_waiting and (self._turn.locked() or not self._has_room(pixels)):
            self._reject(f"{self._waiting} large images are waiting")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._max_wait_s), self._turn:
                while not self._has_room(pixels):
                    self._released.clear()
                    await self._released.wait()
                self._pixels += pixels
        except TimeoutError:
            self._reject(f"a large image waited longer than {self._max_wait_s:g} s")
        finally:
            self._waiting -= 1

    def _has_room(self, pixels: int) -> bool:
        return not self._pixels or self._pixels + pixels <= self._max_pixels

    def _reject(self, reason: str) -> None:
        raise ServiceOverloadedError(
            f"{reason}; {self._pixels} pixels of large images are in progress, and the limit is {self._max_pixels}",
            retry_after_s=_RETRY_AFTER_S,
        )
