"""Procedural photographs of landmarks that never were."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np

from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scenes.view import render_view


def scene_photographs(
    instances: Iterable[int], views: Iterable[int], *, difficulty: tuple[float, float], seed: int
) -> list[Photograph]:
    """Return procedural photographs, view by view of each instance; difficulty is drawn between the bounds.

    View 3 of instance 12 is named `scene-12/3`, and its instance `scene-12`.
    """
    rng = np.random.default_rng(seed)
    views = list(views)
    photographs = []
    for instance in instances:
        difficulties = rng.uniform(*difficulty, size=len(views))
        photographs += [
            Photograph(
                name=f"scene-{instance}/{view}",
                instance=f"scene-{instance}",
                load=partial(render_view, instance, view, difficulty=float(level)),
            )
            for view, level in zip(views, difficulties, strict=True)
        ]
    return photographs
