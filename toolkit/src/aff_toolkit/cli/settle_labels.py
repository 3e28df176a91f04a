"""What the folder of a training is taken for: stated first, and asked about where its subfolders look like albums."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console


def settle_labels(images: Path, labelled: bool | None, console: Console, *, ask: bool) -> bool | None:
    """State what a path is taken for, and return whether its subfolders are instances.

    Args:
        images: A folder or a list.
        labelled: As the options have it; None where they leave it open.
        console: Where it is stated.
        ask: Whether somebody can be asked.

    Returns:
        None where the form of the path decides.

    Raises:
        LabelsUnclearError: The subfolders look like albums, and nobody can be asked.
        AffError: The path cannot be read.
    """
    from aff_toolkit.data.describe_source import describe_source, name_some  # noqa: PLC0415
    from aff_toolkit.data.folder import (
        look_like_albums,  # noqa: PLC0415 - torch takes seconds
        survey_folder,  # noqa: PLC0415
    )
    from aff_toolkit.data.photograph_source import FolderSource, source_of_path  # noqa: PLC0415
    from aff_toolkit.errors import LabelsUnclearError  # noqa: PLC0415

    source = source_of_path(images, labelled=labelled)
    for line in describe_source(source, options=labelled is None):
        console.print(line)
    if labelled is not None or not isinstance(source, FolderSource):
        return labelled
    folders = survey_folder(images).images
    if not look_like_albums(folders):
        return None
    if not ask:
        raise LabelsUnclearError(
            f"its subfolders look like albums ({name_some(list(folders))}): take --unlabelled if they are, or "
            "--labelled if each holds photographs of one thing",
            item=str(images),
        )
    things = typer.confirm("These look like albums. Does each subfolder hold photographs of one thing?", err=True)
    if not things:
        for line in describe_source(source_of_path(images, labelled=False)):
            console.print(line)
    return things
