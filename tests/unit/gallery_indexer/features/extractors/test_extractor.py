import torch

from gallery_indexer.features.extractors.extractor import FeatureBatch


def test_a_global_feature_of_zeros_is_masked() -> None:
    batch = FeatureBatch.from_global(torch.tensor([[0.0, 0.0], [0.0, -0.5], [0.6, 0.8]]))
    assert batch.values.shape == (3, 1, 2)
    assert batch.mask.tolist() == [[False], [True], [True]]
