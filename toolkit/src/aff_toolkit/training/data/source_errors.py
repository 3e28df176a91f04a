"""Errors of the places where photographs come from.

```
PhotographSourceError              422  photograph_source_invalid
├── PhotographListError            422  photograph_list_invalid
├── LabelsUnclearError             422  labels_unclear
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


class LabelsUnclearError(PhotographSourceError):
    """Subfolders may be things, whose names are labels, or albums; nobody is there to ask."""

    code = "labels_unclear"
    title = "Labels or albums"


class TooFewImagesError(PhotographSourceError):
    """The labels say nothing: no instance has two images."""

    code = "too_few_images"
    title = "Too few images of an instance"
