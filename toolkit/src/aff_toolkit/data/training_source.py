"""A source of photographs in a recipe: where they come from, which part of them, under what licence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aff_toolkit.data.describe_source import describe_source, unreadable_folders
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_source import PhotographSource, ScenesSource

_FIRST_OF_PART = {"first_half": 0, "second_half": 1}


class TrainingSource(BaseModel):
    """One of the sources of a training stage.

    Attributes:
        photographs: Source of the photographs.
        part: Every instance, or every second one by sorted names, from the first or from the second on: an extractor
            and the mixer above it learn from different instances.
        licence: Licence of the photographs, for the bundle's manifest.
        optional: Whether to leave the source out if its path does not exist, rather than raise an error.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    photographs: PhotographSource
    part: Literal["all", "first_half", "second_half"] = "all"
    licence: str | None = None
    optional: bool = False

    @property
    def path(self) -> Path | None:
        """Path of the photographs; None for rendered ones."""
        return None if isinstance(self.photographs, ScenesSource) else self.photographs.path

    @property
    def present(self) -> bool:
        """Whether the source exists or is required."""
        return not self.optional or self.path is None or self.path.exists()

    def load(self, *, min_side: int | None = None) -> list[Photograph]:
        """Return the photographs of the part.

        Raises:
            AffError: See the kinds of PhotographSource.
        """
        photographs = self.photographs.photographs(min_side=min_side)
        if self.part == "all":
            return photographs
        names = sorted({photograph.instance for photograph in photographs})
        chosen = set(names[_FIRST_OF_PART[self.part] :: 2])
        return [photograph for photograph in photographs if photograph.instance in chosen]


def load_sources(sources: Sequence[TrainingSource], *, min_side: int | None = None) -> list[Photograph]:
    """Return the photographs of every source that is present, in order.

    With several sources, names and instances are prefixed with the number of the source, since equal names in two
    sources are different instances.

    Raises:
        AffError: See TrainingSource.load.
    """
    if len(sources) == 1:
        return sources[0].load(min_side=min_side) if sources[0].present else []
    photographs: list[Photograph] = []
    for number, source in enumerate(sources):
        if source.present:
            photographs += [_numbered(photograph, number) for photograph in source.load(min_side=min_side)]
    return photographs


def describe_sources(sources: Iterable[TrainingSource]) -> list[str]:
    """Return lines that state what the sources that are present are taken for: see describe_source."""
    return [line for source in sources if source.present for line in describe_source(source.photographs)]


def left_out_folders(sources: Iterable[TrainingSource]) -> list[str]:
    """Return the folders that cannot be read of the sources that are present, each once."""
    found = [folder for source in sources if source.present for folder in unreadable_folders(source.photographs)]
    return list(dict.fromkeys(found))


def licences_of(sources: Iterable[TrainingSource]) -> tuple[str, ...]:
    """Return the licences of the sources that are present, each once."""
    return tuple(dict.fromkeys(source.licence for source in sources if source.present and source.licence))


def absent_sources(sources: Iterable[TrainingSource]) -> list[Path]:
    """Return the paths of the optional sources that are not there, each once."""
    return list(dict.fromkeys(source.path for source in sources if source.path and not source.present))


def _numbered(photograph: Photograph, number: int) -> Photograph:
    return replace(photograph, name=f"{number}/{photograph.name}", instance=f"{number}/{photograph.instance}")
