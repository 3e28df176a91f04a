import torch

from gallery_indexer.features.networks.layers import GeM


def test_gem_with_exponent_one_is_the_mean() -> None:
    activations = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    torch.testing.assert_close(GeM(1.0)(activations), torch.tensor([[3.0]]))


def test_gem_with_exponent_three_is_the_cubic_mean() -> None:
    activations = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    expected = ((1 + 8 + 27 + 64) / 4) ** (1 / 3)
    torch.testing.assert_close(GeM(3.0)(activations), torch.tensor([[expected]]))


def test_gem_treats_negative_activations_as_zero() -> None:
    activations = torch.tensor([[[[-5.0, 2.0]]]])
    expected = (8 / 2) ** (1 / 3)
    torch.testing.assert_close(GeM(3.0)(activations), torch.tensor([[expected]]))
