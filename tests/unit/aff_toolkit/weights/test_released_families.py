"""Features of the extractors of the literature equal those of a file, written when they equalled the authors' code.

To write the file again, after a comparison with the authors' code: python -m tests.support.write_golden_extractors
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS
from gallery_indexer.features.extractors.load_extractor import load_extractor
from tests.support.golden_extractors import GOLDEN_FILE, golden_of
from tests.support.released_checkpoints import installed_with_fresh_weights, photograph

GOLDEN = json.loads(GOLDEN_FILE.read_text(encoding="utf-8"))
SHALLOWEST = tuple(GOLDEN)
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", SHALLOWEST)
def test_features_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    found, expected = golden_of(CHECKPOINT_FORMATS[name], tmp_path), GOLDEN[name]
    assert found.keys() == expected.keys()
    for feature, figures in expected.items():
        for figure, values in figures.items():
            np.testing.assert_allclose(found[feature][figure], values, rtol=1e-3, atol=1e-4, err_msg=figure)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHALLOWEST)
def test_photographs_of_several_shapes_keep_their_order(name: str, tmp_path: Path) -> None:
    spec = installed_with_fresh_weights(CHECKPOINT_FORMATS[name], tmp_path)
    small = spec.preprocessing.model_copy(update={"size": 192})
    extractor = load_extractor(spec.model_copy(update={"preprocessing": small}), tmp_path, CPU)
    images = [photograph(64, 72), photograph(80, 64), photograph(64, 72)[:, ::-1].copy()]
    together = extractor.extract(images)
    for row, image in enumerate(images):
        for feature, alone in extractor.extract([image]).items():
            batch = together[feature]
            torch.testing.assert_close(batch.values[row], alone.values[0], rtol=1e-3, atol=1e-4)
            assert batch.mask[row].tolist() == alone.mask[0].tolist()


def test_every_family_has_its_file() -> None:
    families = {form.spec("w", "s").family for form in CHECKPOINT_FORMATS.values()}
    assert {CHECKPOINT_FORMATS[name].spec("w", "s").family for name in SHALLOWEST} == families
