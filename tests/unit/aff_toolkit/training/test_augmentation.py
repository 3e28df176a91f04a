import torch

from aff_toolkit.training.augmentation import augment


def batch() -> torch.Tensor:
    return torch.randint(0, 256, (6, 40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augmented(seed: int) -> torch.Tensor:
    return augment(batch(), 24, seed)


def test_it_gives_pixels_of_the_wanted_size() -> None:
    result = augmented(0)
    assert result.shape == (6, 24, 24, 3)
    assert result.min() >= 0.0
    assert result.max() <= 255.0


def test_a_seed_gives_the_same_images_and_another_seed_others() -> None:
    torch.testing.assert_close(augmented(0), augmented(0))
    assert not torch.equal(augmented(0), augmented(1))


def test_the_channels_stay_in_their_order() -> None:
    red = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
    red[..., 0] = 200
    means = augment(red, 32, 5).median(dim=1).values.median(dim=1).values
    assert (means[:, 0] > means[:, 1]).sum() >= 3
