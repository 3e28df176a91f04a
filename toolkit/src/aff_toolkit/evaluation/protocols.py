"""The retrieval protocols that a new bundle is measured on: procedural scenes, and an open set in a CSV file."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

from aff_toolkit.scenes.splits import HELD_OUT
from aff_toolkit.training.data.csv_file import csv_photographs as listed_photographs
from aff_toolkit.training.data.photograph import Photograph
from aff_toolkit.training.data.scenes import scene_photographs
from aff_toolkit.training.recipe import TrainingRecipe


@dataclass(frozen=True, slots=True)
class Protocol:
    """Queries, and the gallery with its distractors; photographs of equal instance names are positives.

    Attributes:
        name: Short name, the key of its figures.
        description: What has to stand beside the figures.
    """

    name: str
    description: str
    queries: list[Photograph]
    gallery: list[Photograph]


def scenes_protocol(
    *, instances: int, queries_each: int, gallery_each: int, distractors: int, difficulty: float
) -> Protocol:
    """Return held-out procedural landmarks; every distractor is the only view of a landmark of its own."""
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


def open_set_protocol(csv_path: Path) -> Protocol:
    """Return the open set of a CSV file with columns path, instance and role (query, gallery, distractor)."""
    return Protocol(
        name="open_set",
        description=f"{csv_path.parent.name}/{csv_path.name}: query against gallery + distractor; whole image, "
        "exact search",
        queries=listed_photographs(csv_path, ["query"]),
        gallery=listed_photographs(csv_path, ["gallery", "distractor"]),
    )


def protocols_of_recipe(recipe: TrainingRecipe) -> list[Protocol]:
    """Return what a recipe's bundle is measured on: scenes, and the open sets whose files are here."""
    scenes, open_sets = recipe.evaluation.scenes, [path for path in recipe.evaluation.open_sets if path.exists()]
    protocols = [scenes_protocol(**scenes.model_dump())] if scenes is not None else []
    return protocols + [open_set_protocol(path) for path in open_sets]
