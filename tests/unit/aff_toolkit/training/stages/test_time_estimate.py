"""How long a training will take."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from aff_shared.errors import ImageError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.training.engine.joint_model import UpdateRule
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.stages.held_out import TrainingPhotographs
from aff_toolkit.training.stages.time_estimate import TimeEstimate, estimate_time
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from tests.support.tiny_bundle import TINY_BUNDLE
from tests.support.tiny_training import tiny_recipe

CPU = torch.device("cpu")
EXTRACTION_S = 0.01


def grey() -> np.ndarray:
    return np.full((64, 64, 3), 90, np.uint8)


def refuse() -> np.ndarray:
    raise ImageError("damaged")


def photographs(load: object = grey) -> TrainingPhotographs:
    """100 photographs to train on, and 10 that are held out."""
    shown = [Photograph(f"{n}", f"{n // 2}", load) for n in range(110)]  # type: ignore[arg-type]
    return TrainingPhotographs(shown[:100], shown[100:], [], [], labelled=True)


def recipe(copies: int, kind: str = "momentum") -> TrainingRecipe:
    tiny = tiny_recipe()
    update = UpdateRule.model_validate({"kind": kind})
    return tiny.model_copy(update={"joint": tiny.joint.model_copy(update={"copies": copies, "update": update})})


def expected(copies: int = 1, kind: str = "momentum") -> Mapping[str, float]:
    base = BaseBundle.open(TINY_BUNDLE)
    encoder = GalleryEncoder.load(base.directory, base.manifest, device="cpu")

    def extract(images: Images) -> dict[str, FeatureBatch]:
        time.sleep(EXTRACTION_S * len(images))
        return encoder.extract(images)

    found = estimate_time(recipe(copies, kind), photographs(), extract, base.load_mixer(), CPU)
    assert found is not None
    return found.seconds


def test_every_stage_is_estimated_in_its_order() -> None:
    assert list(expected()) == ["features", "joint", "measuring"]
    assert list(expected(kind="two_stage")) == ["features", "gallery", "query", "measuring"]
    assert all(seconds > 0 for seconds in expected().values())


def test_an_extraction_takes_as_long_as_its_photographs_and_copies() -> None:
    assert expected(copies=1)["features"] >= 100 * EXTRACTION_S
    assert expected(copies=3)["features"] >= 3 * 100 * EXTRACTION_S


def test_photographs_that_cannot_be_read_have_no_estimate() -> None:
    mixer = BaseBundle.open(TINY_BUNDLE).load_mixer()
    assert estimate_time(recipe(1), photographs(refuse), lambda _: {}, mixer, CPU) is None


def test_an_estimate_leaves_mixer_and_random_numbers_as_they_are() -> None:
    base = BaseBundle.open(TINY_BUNDLE)
    mixer = base.load_mixer()
    encoder = GalleryEncoder.load(base.directory, base.manifest, device="cpu")
    torch.manual_seed(3)
    undisturbed = torch.rand(2)
    torch.manual_seed(3)
    estimate_time(recipe(1), photographs(), encoder.extract, mixer, CPU)
    torch.testing.assert_close(torch.rand(2), undisturbed)
    assert all(parameter.grad is None for parameter in mixer.parameters())


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        ({"features": 200.0, "joint": 310.0}, "will take about 8 min (features 3 min, joint 5 min)"),
        ({"features": 2.0, "joint": 3.4}, "will take about 5 s (features 2 s, joint 3 s)"),
    ],
)
def test_the_time_is_reported_in_minutes_or_seconds(seconds: dict[str, float], words: str) -> None:
    assert TimeEstimate(seconds).describe().startswith(words)
