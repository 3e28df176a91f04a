"""EfficientNet-Lite as an extractor against plain loops over its released network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import BundleFormatError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.extractor_choice import EfficientNetLiteChoice
from gallery_indexer.features.extractors.efficientnet_lite import EfficientNetLiteConfig
from gallery_indexer.features.extractors.extractor import Extractor
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.networks.colour_histogram import BINS
from tests.support.released_checkpoints import photograph
from tests.support.released_efficientnet_lite import packaged_efficientnet_lite, released_efficientnet_lite

CPU = torch.device("cpu")
SIZE = 96
PHOTOGRAPHS = [photograph(120, 160), photograph(160, 120), photograph(120, 160), photograph(64, 48)]


def installed(directory: Path, **settings: Any) -> tuple[Extractor, ExtractorSpec]:
    choice = EfficientNetLiteChoice.model_validate(
        {
            "kind": "efficientnet_lite",
            "name": "lite",
            "variant": "lite0",
            "model": packaged_efficientnet_lite("lite0"),
            "size": SIZE,
            **settings,
        }
    )
    spec = choice.install(Installation(directory, "a recipe", 1, list))
    return load_extractor(spec, directory, CPU), spec


@torch.no_grad()
def activations(image: NDArray[np.uint8], preprocessing: Preprocessing, height: int, width: int) -> Tensor:
    """Return the released network's last map (C, h, w) of one photograph at one size."""
    pixels = torch.from_numpy(preprocess(image, preprocessing)).permute(2, 0, 1)[None].float()
    resized = F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    last: Tensor = released_efficientnet_lite("lite0").extract_features((resized - 127) / 128)[0]
    return last


def gem(last: Tensor, exponent: float) -> Tensor:
    total = torch.zeros(len(last))
    for y in range(last.shape[1]):
        for x in range(last.shape[2]):
            total += last[:, y, x].clamp(min=1e-6) ** exponent
    pooled = (total / last[0].numel()) ** (1 / exponent)
    return pooled / pooled.norm()


def test_scales_are_pooled_separately_and_averaged_with_their_weights(tmp_path: Path) -> None:
    extractor, spec = installed(tmp_path, scales=[1.0, 1.5, 0.5], scale_weights=[2.0, 1.0, 0.5], gem_exponent=2.0)
    found = extractor.extract(PHOTOGRAPHS)["lite_gem"]
    assert found.values.shape == (4, 1, 1280)
    assert found.mask.all()
    assert found.positions is None
    sides = {  # of the photograph at 96 pixels, then of every scale, none below 32
        0: [(72, 96), (108, 144), (36, 48)],
        1: [(96, 72), (144, 108), (48, 36)],
        3: [(64, 48), (96, 72), (32, 32)],
    }
    for place, sizes in sides.items():
        total = torch.zeros(1280)
        for weight, (height, width) in zip((2.0, 1.0, 0.5), sizes, strict=True):
            total += weight * gem(activations(PHOTOGRAPHS[place], spec.preprocessing, height, width), 2.0)
        torch.testing.assert_close(found.values[place, 0], total / total.norm(), rtol=0, atol=1e-5)
    torch.testing.assert_close(found.values[2], found.values[0], rtol=0, atol=1e-6)


def test_local_tokens_are_the_strongest_cells_of_the_first_scale(tmp_path: Path) -> None:
    extractor, spec = installed(tmp_path, scales=[1.0, 0.7], local_tokens=8, global_head="none")
    (feature,) = spec.features
    assert (feature.name, feature.kind, feature.dimension, feature.max_tokens) == ("lite_cells", "local", 1280, 8)
    found = extractor.extract(PHOTOGRAPHS)["lite_cells"]
    assert found.positions is not None
    assert found.strengths is not None
    last = activations(PHOTOGRAPHS[0], spec.preprocessing, 72, 96)
    assert last.shape == (1280, 3, 3)
    cells = sorted(((float(last[:, y, x].norm()), x, y) for y in range(3) for x in range(3)), key=lambda cell: -cell[0])
    for token, (strength, x, y) in enumerate(cells[:8]):
        torch.testing.assert_close(found.values[0, token], last[:, y, x] / strength, rtol=0, atol=1e-5)
        assert found.positions[0, token].tolist() == pytest.approx([(x + 0.5) / 3, (y + 0.5) / 3])
        assert float(found.strengths[0, token]) == pytest.approx(strength, rel=1e-4)
    # 64 x 48 pixels have a map of 2 x 2 cells.
    assert found.mask.sum(dim=1).tolist() == [8, 8, 8, 4]
    assert not found.values[3, 4:].any()


def test_photographs_may_be_stretched(tmp_path: Path) -> None:
    extractor, spec = installed(tmp_path, resize="stretch")
    found = extractor.extract(PHOTOGRAPHS[:1])["lite_gem"].values[0, 0]
    expected = gem(activations(PHOTOGRAPHS[0], spec.preprocessing, SIZE, SIZE), 3.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_no_photograph_is_too_small_or_too_dark(tmp_path: Path) -> None:
    extractor, _ = installed(tmp_path, scales=[0.1, 1.0], local_tokens=2)
    shapes = ((8, 8), (1, 300), (300, 1), (32, 32))
    images = [np.zeros((*shape, 3), dtype=np.uint8) for shape in shapes] + [photograph(16, 16)]
    for batch in extractor.extract(images).values():
        assert batch.values.isfinite().all()
        assert batch.mask[:, 0].all()
        torch.testing.assert_close(batch.values[batch.mask].norm(dim=-1), torch.ones(int(batch.mask.sum())))


def test_colours_are_appended_to_the_pooled_activations(tmp_path: Path) -> None:
    plain, _ = installed(tmp_path / "plain")
    coloured, spec = installed(tmp_path / "coloured", colour_weight=0.3)
    images = [*PHOTOGRAPHS, np.zeros((3, 200, 3), dtype=np.uint8)]
    found = coloured.extract(images)["lite_gem"].values[:, 0]
    assert found.shape[1] == spec.features[0].dimension == 1280 + BINS
    torch.testing.assert_close(found[:, :1280], plain.extract(images)["lite_gem"].values[:, 0])
    torch.testing.assert_close(found[:, 1280:].norm(dim=1), torch.full((len(images),), 0.3))


@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_half_precision_weights_produce_nearly_the_same_features(tmp_path: Path, variant: str) -> None:
    model = packaged_efficientnet_lite(variant)
    settings: dict[str, Any] = {"variant": variant, "model": model, "local_tokens": 4}
    whole, _ = installed(tmp_path / "fp32", **settings)
    halved, spec = installed(tmp_path / "fp16", stored="fp16", **settings)
    expected, found = (one.extract(PHOTOGRAPHS[:1]) for one in (whole, halved))
    assert found["lite_gem"].values.dtype == torch.float32
    torch.testing.assert_close(found["lite_gem"].values, expected["lite_gem"].values, rtol=0, atol=1e-3)
    assert (found["lite_cells"].values * expected["lite_cells"].values).sum(dim=-1).min() > 0.9999
    sizes = [(tmp_path / stored / str(spec.weights)).stat().st_size for stored in ("fp32", "fp16")]
    assert sizes[1] < 0.55 * sizes[0]


def test_weights_of_another_variant_are_rejected(tmp_path: Path) -> None:
    _, spec = installed(tmp_path)
    other = spec.model_copy(update={"config": {**spec.config, "variant": "lite2"}})
    with pytest.raises(BundleFormatError, match="weights and specification do not match"):
        load_extractor(other, tmp_path, CPU)


@pytest.mark.parametrize("wrong", [{"scales": []}, {"scales": [0.0]}, {"scale_weights": [1.0, 2.0]}, {"variant": "b0"}])
def test_invalid_settings_are_rejected(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EfficientNetLiteConfig.model_validate({"variant": "lite0", **wrong})
