"""When photographs are grouped, and when their labels are taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.photograph_source import PathSource, ScenesSource, UnlabelledSource
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.recipe.sections import JointSection

SCENES = TrainingSource(photographs=ScenesSource(instances=2, views=2))
GROUPING = PseudoInstancesSection(min_similarity=0.5)


def section(*sources: TrainingSource) -> JointSection:
    optimisation = OptimisationSection(epochs=1, batch_size=2, learning_rate=1e-3)
    return JointSection(sources=sources, pseudo_instances=GROUPING, optimisation=optimisation)


@pytest.mark.parametrize(("image", "grouping"), [("tower/1.jpg", None), ("1.jpg", GROUPING)])
def test_what_a_path_holds_decides(tmp_path: Path, image: str, grouping: PseudoInstancesSection | None) -> None:
    (tmp_path / image).parent.mkdir(exist_ok=True)
    (tmp_path / image).write_bytes(b"")
    assert section(SCENES, TrainingSource(photographs=PathSource(path=tmp_path))).grouping == grouping


def test_a_source_that_is_missing_does_not_count(tmp_path: Path) -> None:
    absent = TrainingSource(photographs=UnlabelledSource(path=tmp_path / "none"), optional=True)
    assert section(SCENES, absent).grouping is None
