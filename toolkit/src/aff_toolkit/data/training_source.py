"""A source of photographs in a recipe: place, part, licence, and how it is interpreted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from aff_toolkit.data import Settings
from aff_toolkit.data.folder import FolderSurvey, survey_folder
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_source import (
    DatasetSource,
    FolderSource,
    PathSource,
    PhotographSource,
    ScenesSource,
    UnlabelledSource,
    source_of_path,
)

_FIRST_OF_PART = {"first_half": 0, "second_half": 1}
_SHOWN = 10


class TrainingSource(Settings):
    """One of the sources of a training stage.

    Attributes:
        part: Every instance, or every second one by sorted names, from the first or from the second on: an extractor
            and the mixer above it learn from different instances.
        licence: Licence of the photographs, for the bundle's manifest.
        optional: Whether to leave the source out if its path does not exist, rather than raise an error.
    """

    photographs: PhotographSource
    part: Literal["all", "first_half", "second_half"] = "all"
    licence: str | None = None
    optional: bool = False

    @property
    def path(self) -> Path | None:
        """Path of the photographs; None for rendered ones, and for a data set with a name."""
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
        photographs += [
            replace(photograph, name=f"{number}/{photograph.name}", instance=f"{number}/{photograph.instance}")
            for photograph in (source.load(min_side=min_side) if source.present else ())
        ]
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


def describe_source(source: PhotographSource, *, options: bool = False) -> list[str]:
    """Return lines that describe how a source is interpreted, and which parts are left out.

    With `options`, they mention the options of the command line that change the interpretation.

    Raises:
        AffError: The source cannot be read.
    """
    if isinstance(source, PathSource):
        source = source_of_path(source.path)
    if isinstance(source, FolderSource):
        return _describe_labelled(source, options=options)
    if isinstance(source, UnlabelledSource):
        return _describe_unlabelled(source, options=options)
    if isinstance(source, ScenesSource):
        return []
    photographs = source.photographs()
    place = source.name if isinstance(source, DatasetSource) and source.name else source.path
    if not source.labelled:
        return [f"{place}: {len(photographs)} photographs without labels"]
    things = len({photograph.instance for photograph in photographs})
    return [f"{place}: {len(photographs)} photographs of {things} things"]


def unreadable_folders(source: PhotographSource) -> tuple[str, ...]:
    """Return the unreadable subfolders of a source, whose photographs are left out.

    Raises:
        AffError: The source cannot be read.
    """
    if isinstance(source, FolderSource | UnlabelledSource | PathSource) and source.path.is_dir():
        return survey_folder(source.path).unreadable
    return ()


def name_some(names: Sequence[str]) -> str:
    """Return the first ten names as a comma-separated list."""
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _describe_labelled(source: FolderSource, *, options: bool) -> list[str]:
    survey = survey_folder(source.path)
    folders, photographs = len(survey.images), sum(survey.images.values())
    hint = "; --unlabelled if they are albums" if options else ""
    lines = [f"{source.path}: {folders} subfolders taken for {folders} things, {photographs} photographs{hint}"]
    if survey.loose:
        lines.append(f"left out, in no subfolder ({len(survey.loose)}): {name_some(survey.loose)}")
    if survey.empty:
        lines.append(f"left out, without images ({len(survey.empty)}): {name_some(survey.empty)}")
    return lines + _describe_unreadable(survey)


def _describe_unlabelled(source: UnlabelledSource, *, options: bool) -> list[str]:
    survey = survey_folder(source.path)
    photographs = sum(survey.images.values()) + len(survey.loose)
    line = f"{source.path}: {photographs} photographs without labels"
    if survey.images:
        hint = "; --labelled if each holds one thing" if options else ""
        line += f", whose {len(survey.images)} subfolders are not taken for things{hint}"
    return [line, *_describe_unreadable(survey)]


def _describe_unreadable(survey: FolderSurvey) -> list[str]:
    folders = survey.unreadable
    return [f"left out, cannot be read ({len(folders)}): {name_some(folders)}"] if folders else []
