"""Errors of the places where photographs come from.

```
PhotographSourceError              422  photograph_source_invalid
├── PhotographListError            422  photograph_list_invalid
├── PhotographUnreadableError      422  photograph_unreadable
└── TooFewImagesError              422  too_few_images
```
"""

from __future__ import annotations

from aff_contracts.errors import AffError


class PhotographSourceError(AffError):
    """A source of photographs cannot be used."""

    code = "photograph_source_invalid"
    status = 422
    title = "Unusable source of photographs"


class PhotographListError(PhotographSourceError):
    """A file that lists photographs cannot be read, or does not have the documented columns."""

    code = "photograph_list_invalid"
    title = "Unreadable list of photographs"


class PhotographUnreadableError(PhotographSourceError):
    """A photograph's file is missing or may not be read."""

    code = "photograph_unreadable"
    title = "Unreadable photograph"


class TooFewImagesError(PhotographSourceError):
    """The labels say nothing: no instance has two images."""

    code = "too_few_images"
    title = "Too few images of an instance"
