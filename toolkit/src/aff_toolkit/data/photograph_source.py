"""Sources of photographs in recipes and on the command line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from aff_toolkit.data import Settings
from aff_toolkit.data.dataset_rows import DataFile, dataset_photographs
from aff_toolkit.data.folder import folder_photographs, survey_folder, unlabelled_photographs
from aff_toolkit.data.hub_datasets import DATA_SUFFIXES, hub_folder, is_data_folder, training_files
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_lists import csv_photographs, gldv2_photographs
from aff_toolkit.data.scenes import scene_photographs
from aff_toolkit.errors import PhotographListError, PhotographSourceError


class _Source(Settings):
    @property
    def labelled(self) -> bool:
        """Whether the photographs have labels."""
        return True


class FolderSource(_Source):
    """A folder with a subfolder per instance; images outside subfolders and unreadable subfolders are left out."""

    kind: Literal["folder"] = "folder"
    path: Path

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See folder_photographs."""
        return folder_photographs(self.path, min_side=min_side, loose=True, unreadable=True)


class UnlabelledSource(_Source):
    """A folder of photographs without labels; each is a separate instance. Unreadable folders are left out."""

    kind: Literal["unlabelled"] = "unlabelled"
    path: Path

    @property
    def labelled(self) -> bool:
        """Whether the photographs have labels."""
        return False

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See unlabelled_photographs."""
        return unlabelled_photographs(self.path, min_side=min_side, unreadable=True)


class CsvSource(_Source):
    """Rows of a CSV file with the columns path, instance, and role or split.

    Attributes:
        path: The file; paths in it are relative to its directory.
        roles: Which rows; every row when None.
        alone: Whether a row without an instance is a separate instance.
        frames_together: For videos: number of consecutive values in the column `frame` that form one instance. None for
            other lists.
    """

    kind: Literal["csv"] = "csv"
    path: Path
    roles: tuple[str, ...] | None = ("train",)
    alone: bool = False
    frames_together: int | None = Field(default=None, ge=1)

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See csv_photographs.

        Raises:
            PhotographListError: See csv_photographs; or a frame is not an integer.
        """
        photographs = csv_photographs(self.path, self.roles, min_side=min_side, alone=self.alone)
        if self.frames_together is None:
            return photographs
        return [self._cut(photograph, self.frames_together) for photograph in photographs]

    def _cut(self, photograph: Photograph, frames: int) -> Photograph:
        """Return the photograph with the segment of its video as instance; one without a frame is not changed."""
        frame = photograph.payload.get("frame", "")
        if not frame:
            return photograph
        try:
            return replace(photograph, instance=f"{photograph.instance}/{int(frame) // frames}")
        except ValueError as error:
            detail = f"{photograph.name}: the frame {frame!r} is not an integer"
            raise PhotographListError(detail, item=str(self.path)) from error


class Gldv2Source(_Source):
    """The cleaned training set of Google Landmarks v2.

    Attributes:
        path: The official train_clean.csv.
        images: Folder of the a/b/c/id.jpg tree; None uses the folder `train` in the folder of the file.
    """

    kind: Literal["gldv2"] = "gldv2"
    path: Path
    images: Path | None = None

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See gldv2_photographs."""
        return gldv2_photographs(self.path, self.images or self.path.parent / "train", min_side=min_side)


class DatasetSource(_Source):
    """A data set of the Hugging Face hub, on this machine; exactly one of `path` and `name` is set.

    Attributes:
        path: Parquet or Arrow file, or a folder with such files: see data_files.
        name: Name on the hub: see hub_folder.
        config: Configuration of a named data set with several.
        split: Rows of this split; None for `train`, or for all rows if there are no splits.
        image: Column of the images; None for the only one, or the one called `image`.
        instance: Column of the instances; None for `instance`, `label`, or the only one of the type ClassLabel. Without
            such a column, each photograph is a separate instance.
    """

    kind: Literal["dataset"] = "dataset"
    path: Path | None = None
    name: str | None = None
    config: str | None = None
    split: str | None = None
    image: str | None = None
    instance: str | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.name is None):
            raise ValueError("set either path or name")
        return self

    @property
    def labelled(self) -> bool:
        """Whether there is a column of instances.

        Raises:
            DatasetError: See photographs.
        """
        return self._files()[0].instance_column(self.instance) is not None

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See dataset_photographs.

        Raises:
            DatasetError: The files are missing or cannot be read, or a column is missing.
        """
        return dataset_photographs(self._files(), image=self.image, instance=self.instance, min_side=min_side)

    def _files(self) -> list[DataFile]:
        root = self.path or hub_folder(self.name or "", self.config)
        paths = training_files(root, self.split)
        if not root.is_dir():
            root = root.parent
        return [DataFile(path, path.relative_to(root).as_posix()) for path in paths]


class ScenesSource(_Source):
    """Procedural landmarks; each view draws its difficulty between the two bounds.

    Attributes:
        instances: Number of landmarks.
        views: Photographs of each.
        first: Number of the first landmark; disjoint ranges are disjoint sets.
        seed: Seed of the difficulties.
    """

    kind: Literal["scenes"] = "scenes"
    instances: int = Field(ge=1)
    views: int = Field(ge=1)
    min_difficulty: float = Field(default=0.2, ge=0, le=1)
    max_difficulty: float = Field(default=0.8, ge=0, le=1)
    first: int = Field(default=0, ge=0)
    seed: int = 0

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:  # noqa: ARG002 - files alone reduce
        """See scene_photographs."""
        return scene_photographs(
            range(self.first, self.first + self.instances),
            range(self.views),
            difficulty=(self.min_difficulty, self.max_difficulty),
            seed=self.seed,
        )


class PathSource(_Source):
    """A folder with or without labels, a list, or a data set, by its contents when it is read; see source_of_path."""

    kind: Literal["path"] = "path"
    path: Path

    @property
    def labelled(self) -> bool:
        """Whether the current contents of the path have labels.

        Raises:
            PhotographSourceError: See source_of_path.
        """
        return source_of_path(self.path).labelled

    def photographs(self, *, min_side: int | None = None) -> list[Photograph]:
        """See source_of_path, and the kind that it finds."""
        return source_of_path(self.path).photographs(min_side=min_side)


PhotographSource = Annotated[
    FolderSource | UnlabelledSource | CsvSource | Gldv2Source | DatasetSource | ScenesSource | PathSource,
    Field(discriminator="kind"),
]


def source_of_path(
    path: Path, *, labelled: bool | None = None
) -> FolderSource | UnlabelledSource | CsvSource | Gldv2Source | DatasetSource:
    """Return the source of a path of a recipe or of the command line, by its form.

    A `.csv` with the columns landmark_id and images is GLDv2's, any other one lists photographs. A Parquet or Arrow
    file, or a folder with such files and without images, is a data set. A folder with most images in subfolders has one
    instance per subfolder, any other folder is unlabelled; `labelled` overrides that.

    Raises:
        PhotographSourceError: Neither a folder, nor a CSV file, nor a data set; or `labelled` is given for a list or a
            data set.
        FolderError: See survey_folder.
    """
    is_dataset = is_data_folder(path) if path.is_dir() else path.is_file() and path.suffix.lower() in DATA_SUFFIXES
    if path.is_dir() and not is_dataset:
        by_folder = survey_folder(path).labelled if labelled is None else labelled
        return FolderSource(path=path) if by_folder else UnlabelledSource(path=path)
    if not is_dataset and (path.suffix.lower() not in {".csv", ".tsv"} or not path.is_file()):
        raise PhotographSourceError("is neither a folder nor a .csv, .tsv, .parquet or .arrow file", item=str(path))
    if labelled is not None:
        detail = "is a list or a data set; --labelled and --unlabelled are for folders"
        raise PhotographSourceError(detail, item=str(path))
    if is_dataset:
        return DatasetSource(path=path)
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        header = stream.readline()
    return Gldv2Source(path=path) if header.strip() == "landmark_id,images" else CsvSource(path=path, roles=None)
