from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_model

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import BundleFormatError
from gallery_indexer.features.extractors.compact_cnn import CompactCnn, CompactCnnExtractor, compact_cnn_spec
from gallery_indexer.features.extractors.landmark_extractor import cell_positions
from gallery_indexer.features.extractors.load_extractor import load_extractor

CPU = torch.device("cpu")


@pytest.fixture
def spec() -> ExtractorSpec:
    return compact_cnn_spec(
        size=64, width=4, global_dimension=12, local_dimension=8, max_tokens=5, weights_source="a test"
    )


@pytest.fixture
def network() -> CompactCnn:
    torch.manual_seed(0)
    return CompactCnn(4, 12, 8).eval()


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((64, 64, 3), (90, 40, 3))]


def test_one_pass_computes_both_features(spec: ExtractorSpec, network: CompactCnn) -> None:
    features = CompactCnnExtractor(spec, network, CPU).extract(images())
    assert features["cnn_gem"].values.shape == (2, 1, 12)
    assert features["cnn_attention"].values.shape == (2, 5, 8)
    for batch in features.values():
        assert batch.mask.all()
        torch.testing.assert_close(batch.values.norm(dim=2), torch.ones(batch.mask.shape))


def test_an_image_has_the_same_features_alone_and_in_a_batch(spec: ExtractorSpec, network: CompactCnn) -> None:
    extractor = CompactCnnExtractor(spec, network, CPU)
    together = extractor.extract(images())
    alone = extractor.extract(images()[1:])
    for name, batch in alone.items():
        torch.testing.assert_close(batch.values[0], together[name].values[1], rtol=1e-4, atol=1e-5)


def test_the_strongest_activations_are_smoothed_and_sorted_by_falling_norm(network: CompactCnn) -> None:
    activations = torch.zeros(1, 16, 4, 4)
    activations[0, 0, 1, 2] = 9.0
    activations[0, 1, 3, 3] = 4.0
    first, second = network.strongest_activations(activations, 2)[0]
    assert first[0] == pytest.approx(1.0)
    assert second[1] == pytest.approx(1.0)


def test_positions_are_the_centres_of_the_strongest_cells(network: CompactCnn) -> None:
    activations = torch.zeros(1, 16, 4, 8)
    activations[0, 0, 1, 6] = 9.0
    activations[0, 1, 3, 0] = 4.0
    positions = cell_positions(network.strongest_cells(activations, 2), 4, 8)
    torch.testing.assert_close(positions, torch.tensor([[[6.5 / 8, 1.5 / 4], [0.5 / 8, 3.5 / 4]]]))


def test_local_tokens_have_positions_and_global_ones_have_none(spec: ExtractorSpec, network: CompactCnn) -> None:
    features = CompactCnnExtractor(spec, network, CPU).extract(images())
    assert features["cnn_gem"].positions is None
    positions = features["cnn_attention"].positions
    assert positions is not None
    assert positions.shape == (2, 5, 2)
    assert bool(((positions > 0) & (positions < 1)).all())
    moved = features["cnn_attention"].to(torch.device("meta"))
    assert moved.positions is not None
    assert moved.positions.device.type == "meta"


def test_whitening_makes_descriptors_uncorrelated(network: CompactCnn) -> None:
    torch.manual_seed(3)
    sample = torch.randn(4000, 16) @ torch.randn(16, 16) + 5.0
    network.fit_local_whitening(sample)
    whitened = (sample - network.local_mean) @ network.local_whitening.T
    torch.testing.assert_close(torch.cov(whitened.T), torch.eye(8), rtol=1e-2, atol=1e-2)


def test_weights_of_another_width_are_rejected(tmp_path: Path, spec: ExtractorSpec) -> None:
    (tmp_path / "extractors").mkdir()
    save_model(CompactCnn(8, 12, 8), str(tmp_path / str(spec.weights)))
    with pytest.raises(BundleFormatError, match="compact_cnn"):
        load_extractor(spec, tmp_path, CPU)


def test_saved_weights_produce_the_same_features(tmp_path: Path, spec: ExtractorSpec, network: CompactCnn) -> None:
    (tmp_path / "extractors").mkdir()
    save_model(network, str(tmp_path / str(spec.weights)))
    loaded = load_extractor(spec, tmp_path, CPU).extract(images())
    for name, batch in CompactCnnExtractor(spec, network, CPU).extract(images()).items():
        torch.testing.assert_close(loaded[name].values, batch.values)


def test_an_unknown_family_is_rejected_with_its_name(tmp_path: Path, spec: ExtractorSpec) -> None:
    unknown = spec.model_copy(update={"family": "crystal_ball"})
    with pytest.raises(BundleFormatError, match="crystal_ball"):
        load_extractor(unknown, tmp_path, CPU)
