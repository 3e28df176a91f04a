"""Retrieval protocols: procedural scenes, and queries with their gallery in a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.photograph_lists import csv_photographs
from aff_toolkit.data.scenes import HELD_OUT, scene_photographs
from aff_toolkit.errors import NothingToScoreError
from aff_toolkit.evaluation.listed_relevance import GALLERY_ROLES, QUERY, listed_relevance
from aff_toolkit.evaluation.relevance import Relevance, nearest_to, relevance_of_instances


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
