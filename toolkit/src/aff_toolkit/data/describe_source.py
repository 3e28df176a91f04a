"""Descriptions of sources of photographs: how they are interpreted, and which parts are left out."""

from __future__ import annotations

from collections.abc import Sequence

from aff_toolkit.data.folder import FolderSurvey, survey_folder
from aff_toolkit.data.photograph_source import (
    FolderSource,
    PathSource,
    PhotographSource,
    ScenesSource,
    UnlabelledSource,
    source_of_path,
)

_SHOWN = 10


def describe_source(source: PhotographSource, *, options: bool = False) -> list[str]:
    """Return lines that describe how a source is interpreted, and which parts are left out.

    Args:
        source: Source of a recipe or of the command line.
        options: Whether to mention the options that change the interpretation.

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
    things = len({photograph.instance for photograph in photographs})
    return [f"{source.path}: {len(photographs)} photographs of {things} things"]


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
