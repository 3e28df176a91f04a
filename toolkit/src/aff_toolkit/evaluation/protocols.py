"""Retrieval protocols: procedural scenes, queries with their gallery in a CSV file, frames of videos or walks."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_shared.errors import InvalidParameterError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_lists import ListedRow, csv_photographs, listed_rows
from aff_toolkit.data.scenes import HELD_OUT, scene_photographs
from aff_toolkit.errors import NothingToScoreError, PhotographListError, ProtocolNotWrittenError
from aff_toolkit.evaluation.relevance import (
    GALLERY_ROLES,
    JUNK_COLUMN,
    POSITIVES_COLUMN,
    QUERY,
    SEPARATOR,
    Relevance,
    listed_relevance,
    nearest_to,
    relevance_of_instances,
)


@dataclass(frozen=True, slots=True)
class Protocol:
    """Queries, and the gallery with its distractors.

    Attributes:
        name: Short name, the key of its figures.
        description: Description to publish with the figures.
        listed: Positives and junk of each query; None if they follow from equal instances.
        originals: Gallery row of the photograph that each query is a version of. The positives of a query are then the
            photographs nearest to its original in the gallery, by a reference's embeddings; see nearest_to.
    """

    name: str
    description: str
    queries: list[Photograph]
    gallery: list[Photograph]
    listed: Relevance | None = None
    originals: tuple[int, ...] | None = None

    def relevance(self, reference: NDArray[np.float32] | None = None) -> Relevance:
        """Return positives and junk of each query: the listed ones, or else photographs with equal instances.

        Args:
            reference: (N, D) float32, unit length: embeddings of the gallery by the reference, which `originals` need.
        """
        if self.listed is not None:
            return self.listed
        if self.originals is not None:
            assert reference is not None, "originals need a reference"
            return nearest_to(self.originals, reference)
        queries, gallery = ([photograph.instance for photograph in part] for part in (self.queries, self.gallery))
        return relevance_of_instances(queries, gallery)


def scenes_protocol(
    *, instances: int, queries_each: int, gallery_each: int, distractors: int, difficulty: float
) -> Protocol:
    """Return held-out procedural landmarks; every distractor is the only view of a separate landmark."""
    bounds = (difficulty, difficulty)
    landmarks = range(HELD_OUT, HELD_OUT + instances)
    queries = scene_photographs(landmarks, range(queries_each), difficulty=bounds, seed=0)
    views = range(queries_each, queries_each + gallery_each)
    gallery = scene_photographs(landmarks, views, difficulty=bounds, seed=0)
    others = islice(count(HELD_OUT + instances), distractors)
    gallery += scene_photographs(others, [0], difficulty=bounds, seed=0)
    description = (
        f"procedural scenes, held out: {instances} landmarks x {queries_each} queries and {gallery_each} "
        f"gallery views, {distractors} distractors, difficulty {difficulty:g}; whole image, exact search"
    )
    return Protocol("scenes", description, queries, gallery)


def open_set_protocol(csv_path: Path, *, name: str = "open_set", min_side: int | None = None) -> Protocol:
    """Return the queries and the gallery of a CSV file with the columns path, instance and role.

    Roles are query, gallery, distractor and junk; rows of other roles are left out. The columns `positives` and
    `junk` are optional: see listed_relevance.

    Args:
        csv_path: The file; its paths are relative to it.
        name: Key of the figures.
        min_side: See load_photograph_file.

    Raises:
        PhotographListError: See csv_photographs.
        GroundTruthError: See listed_relevance.
        NothingToScoreError: No query has a positive.
    """
    queries = csv_photographs(csv_path, [QUERY], min_side=min_side)
    gallery = csv_photographs(csv_path, GALLERY_ROLES, min_side=min_side)
    listed = listed_relevance(csv_path)
    counted = "" if listed is None else "; positives and junk as the file lists them"
    protocol = Protocol(
        name=name,
        description=f"{csv_path.parent.name}/{csv_path.name}: query against gallery + distractor{counted}; whole "
        "image, exact search",
        queries=queries,
        gallery=gallery,
        listed=listed,
    )
    if not len(protocol.relevance().relevant.values):
        raise NothingToScoreError("no query has a positive in the gallery", item=str(csv_path))
    return protocol


_FRAME_COLUMN = "frame"
_HEADER = ("path", "instance", "role", POSITIVES_COLUMN, JUNK_COLUMN)


@dataclass(frozen=True, slots=True)
class ProtocolRow:
    """A row of the file that `open_set_protocol` reads; positives and junk are empty for a gallery image."""

    path: str
    instance: str
    role: str
    positives: tuple[str, ...] = ()
    junk: tuple[str, ...] = ()


def frames_protocol(
    frames_csv: Path, *, role: str | None, query_every: int, positive_within: float, junk_within: float
) -> list[ProtocolRow]:
    """Make queries and a gallery of frames.

    Of the rows of the role, in the order of the file, the first one and every `query_every`-th after it are queries;
    all the others are the gallery. Gallery frames of the query's walk are positives where the frames differ by
    `positive_within` at most, and junk where they differ by more, up to `junk_within`.

    Args:
        frames_csv: Columns path, instance (the walk), frame (a number, such as the second) and, for a role, role.
        role: Which rows are taken; None for all.
        query_every: At least 2.
        positive_within: Greatest difference of a positive, in the unit of the column frame.
        junk_within: Greatest difference of junk, at least `positive_within`.

    Raises:
        InvalidParameterError: The parameters contradict each other.
        PhotographListError: See csv_photographs; or a frame is not a number, or a path contains `;`.
    """
    if not 0 <= positive_within <= junk_within:
        detail = f"is {junk_within:g}, less than the {positive_within:g} within which frames are positives"
        raise InvalidParameterError(detail, item="junk_within")
    rows = list(listed_rows(frames_csv, None if role is None else [role]))
    if not rows:
        raise PhotographListError(f"no rows of role {role}" if role else "no rows", item=str(frames_csv))
    frames = np.array([_frame(row, frames_csv) for row in rows])
    gallery = _gallery_by_instance(rows, frames, query_every)
    made = []
    for number, (row, frame) in enumerate(zip(rows, frames.tolist(), strict=True)):
        if number % query_every:
            made.append(ProtocolRow(row.path, row.instance, "gallery"))
            continue
        near = gallery.get(row.instance, _Walk([], np.zeros(0)))
        positives, junk = near.paths(frame, -1, positive_within), near.paths(frame, positive_within, junk_within)
        made.append(ProtocolRow(row.path, row.instance, QUERY, positives, junk))
    return made


def write_protocol(rows: Iterable[ProtocolRow], root: Path, out: Path) -> None:
    """Write rows as a CSV file, with paths relative to it.

    Args:
        rows: Their paths are relative to `root`.
        root: A folder.
        out: The file; an older one is replaced.

    Raises:
        ProtocolNotWrittenError: It cannot be written.
    """
    below = os.path.relpath(root.resolve(), out.resolve().parent)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for row in rows:
        own, *listed = (
            SEPARATOR.join(Path(os.path.normpath(Path(below, path))).as_posix() for path in paths)
            for paths in ((row.path,), row.positives, row.junk)
        )
        writer.writerow([own, row.instance, row.role, *listed])
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise ProtocolNotWrittenError(str(error.strerror), item=str(out)) from error


@dataclass(frozen=True, slots=True)
class _Walk:
    """Paths and frames of the gallery images of a walk."""

    names: list[str]
    frames: NDArray[np.float64]

    def paths(self, frame: float, above: float, up_to: float) -> tuple[str, ...]:
        """Return the paths of the images whose frames differ by more than `above`, up to `up_to`."""
        apart = np.abs(self.frames - frame)
        return tuple(self.names[row] for row in np.flatnonzero((apart > above) & (apart <= up_to)))


def _gallery_by_instance(rows: Sequence[ListedRow], frames: NDArray[np.float64], query_every: int) -> dict[str, _Walk]:
    numbers: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        if number % query_every:
            numbers.setdefault(row.instance, []).append(number)
    return {instance: _Walk([rows[one].path for one in own], frames[own]) for instance, own in numbers.items()}


def _frame(row: ListedRow, frames_csv: Path) -> float:
    if _FRAME_COLUMN not in row.payload:
        raise PhotographListError(f"no column {_FRAME_COLUMN}", item=str(frames_csv))
    if SEPARATOR in row.path:
        detail = f"line {row.line}: the path {row.path!r} contains {SEPARATOR!r}, which separates paths in a protocol"
        raise PhotographListError(detail, item=str(frames_csv))
    text = row.payload[_FRAME_COLUMN]
    try:
        frame = float(text)
    except ValueError:
        frame = math.nan
    if not math.isfinite(frame):
        raise PhotographListError(f"line {row.line}: the frame {text!r} is not a number", item=str(frames_csv))
    return frame
