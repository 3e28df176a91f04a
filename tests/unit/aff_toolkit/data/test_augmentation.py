"""Photographs are cropped, warped, blurred, recoloured and partly covered."""

import pytest
import torch
from pydantic import ValidationError

from aff_toolkit.data.augmentation import Augmentation, augment

NOTHING = Augmentation(
    min_zoom=1.0, max_zoom=1.0, roll_rad=0.0, shear=0.0, gain=0.0, cast=0.0, erased_share=0.0, blurred_share=0.0
)


def batch() -> torch.Tensor:
    return torch.randint(0, 256, (6, 40, 40, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def augmented(seed: int) -> torch.Tensor:
    return augment(batch(), 24, seed)


def test_it_returns_pixels_of_the_requested_size() -> None:
    result = augmented(0)
    assert result.shape == (6, 24, 24, 3)
    assert result.min() >= 0.0
    assert result.max() <= 255.0


def test_a_seed_returns_the_same_images_and_another_seed_others() -> None:
    torch.testing.assert_close(augmented(0), augmented(0))
    assert not torch.equal(augmented(0), augmented(1))


def test_the_channels_stay_in_their_order() -> None:
    red = torch.zeros(4, 32, 32, 3, dtype=torch.uint8)
    red[..., 0] = 200
    means = augment(red, 32, 5).median(dim=1).values.median(dim=1).values
    assert (means[:, 0] > means[:, 1]).sum() >= 3


def test_the_usual_augmentation_is_the_one_from_before_it_could_be_chosen() -> None:
    usual = augmented(7)
    torch.testing.assert_close(augment(batch(), 24, 7, Augmentation()), usual, rtol=0, atol=0)
    # Output of the earlier code for this batch and seed.
    means = torch.tensor([148.1469, 86.7439, 88.9672, 163.2152, 163.9795, 130.3013])
    torch.testing.assert_close(usual.mean(dim=(1, 2, 3)), means, rtol=0, atol=1e-2)
    torch.testing.assert_close(usual[0, 3, 5], torch.tensor([90.8099, 81.1155, 67.3341]), rtol=0, atol=1e-2)


def test_with_everything_off_a_photograph_stays_as_it_is() -> None:
    torch.testing.assert_close(augment(batch(), 40, 3, NOTHING), batch().float(), rtol=0, atol=1e-2)


@pytest.mark.parametrize("changes", [{"perspective": 0.4}, {"blurred_share": 1.0}])
def test_perspective_and_blur_change_pixels_within_their_range_by_the_seed(changes: dict[str, float]) -> None:
    how = NOTHING.model_copy(update=changes)
    found = augment(batch(), 40, 3, how)
    assert all(not torch.equal(one, other) for one, other in zip(found, batch().float(), strict=True))
    assert found.min() >= 0.0
    assert found.max() <= 255.0
    assert found.is_contiguous()
    torch.testing.assert_close(augment(batch(), 40, 3, how), found, rtol=0, atol=0)
    assert not torch.equal(augment(batch(), 40, 4, how), found)


def test_perspective_leaves_the_centre_and_moves_one_side_towards_it_and_the_other_away() -> None:
    size, centre = 33, 16
    across = torch.linspace(0, 255, size).round().to(torch.uint8)
    ramp = across[None, None, :, None].expand(8, size, size, 3).contiguous()
    found = augment(ramp, size, 2, NOTHING.model_copy(update={"perspective": 0.4}))
    torch.testing.assert_close(found[:, centre, centre], ramp[:, centre, centre].float(), rtol=0, atol=1e-2)
    # Half-way to either border in the row of the centre, the ramp moves the same way: one side moves nearer to the
    # centre, the other goes away from it.
    left, right = (found[:, centre, x, 0] - ramp[:, centre, x, 0] for x in (8, 24))
    assert (left.abs() > 5).sum() >= 4
    assert (left * right > 0).all()


def test_blur_takes_detail_away_and_leaves_a_plain_photograph() -> None:
    how = NOTHING.model_copy(update={"blurred_share": 1.0})
    before, after = batch().float(), augment(batch(), 40, 3, how)
    assert (after.flatten(1).std(dim=1) < 0.95 * before.flatten(1).std(dim=1)).all()
    plain = torch.full((4, 40, 40, 3), 90, dtype=torch.uint8)
    torch.testing.assert_close(augment(plain, 40, 3, how), plain.float(), rtol=0, atol=1e-2)


def test_the_share_of_blurred_photographs_is_the_one_that_was_requested() -> None:
    noise = torch.randint(0, 256, (400, 12, 12, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = augment(noise, 12, 3, NOTHING.model_copy(update={"blurred_share": 0.3}))
    changed = ((found - noise.float()).abs().amax(dim=(1, 2, 3)) > 1).float().mean()
    assert 0.2 < changed < 0.4


@pytest.mark.parametrize("wrong", [{"perspective": 0.5}, {"blurred_share": 1.1}, {"gain": 1.0}, {"zoom": 0.5}])
def test_an_augmentation_that_cannot_be_is_rejected(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        Augmentation.model_validate(wrong)
