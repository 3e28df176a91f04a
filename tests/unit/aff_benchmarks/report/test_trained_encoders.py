"""Query encoders by training method, each trained once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aff_benchmarks.report.trained_encoders import (
    WAYS,
    EncoderMaterials,
    EncoderScore,
    EncoderTrainings,
    gallery_references,
    train_backbone,
    train_encoders,
)
from aff_toolkit.data.photograph_source import ScenesSource
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.engine.optimisation import OptimisationSection
from tests.support.tiny_bundle import TINY_BUNDLE

pytestmark = pytest.mark.slow

SHORT = OptimisationSection(epochs=1, batch_size=8, learning_rate=1e-3)
FEW = EncoderTrainings(
    backbones=("residual-8",),
    source=ScenesSource(first=1_500_000, instances=8, views=2),
    pretraining=SHORT,
    training=SHORT,
    landmarks=4,
    distractors=4,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderMaterials, list[EncoderScore]]:
    return train_encoders(BaseBundle.open(TINY_BUNDLE), FEW, tmp_path_factory.mktemp("encoders"))


def test_every_method_is_trained_once_and_then_reused(
    trained: tuple[EncoderMaterials, list[EncoderScore]],
) -> None:
    materials, scores = trained
    assert [score.way for score in scores] == list(WAYS)
    assert all(0 < score.map <= 1 for score in scores)
    written = {path: path.stat().st_mtime_ns for path in materials.directory.rglob("module.safetensors")}
    assert len(written) == 1 + len(WAYS)
    again = train_backbone(materials, "residual-8")
    assert [score.map for score in again] == pytest.approx([score.map for score in scores])
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_the_gallery_side_is_measured_on_both_sides(trained: tuple[EncoderMaterials, list[EncoderScore]]) -> None:
    references = gallery_references(trained[0])
    assert references.keys() == {"aff", "single_feature"}
    assert all(0.5 < value <= 1 for value in references.values())


def test_a_bundle_without_a_feature_of_the_embeddings_dimension_skips_one_method(
    trained: tuple[EncoderMaterials, list[EncoderScore]],
) -> None:
    materials, _ = trained
    manifest = materials.base.manifest
    wider = manifest.model_copy(update={"space": manifest.space.model_copy(update={"dimension": 256})})
    other = replace(materials, base=replace(materials.base, manifest=wider))
    assert other.gallery_side("single_feature") is None
