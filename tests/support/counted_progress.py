"""Progress of a job, counted."""

from __future__ import annotations


class CountedProgress:
    """Counts the images of a job that are done, and those that were announced."""

    def __init__(self) -> None:
        self.done, self.total = 0, 0

    def expect(self, images: int) -> None:
        """Set the number of images."""
        self.total = images

    def advance(self, images: int) -> None:
        """Count images that are done."""
        self.done += images
