"""The useless extractor: a random unit vector, bound to the pixels and to nothing else."""

from __future__ import annotations

import torch

from aff_benchmarks.ablation.networks import NOISE, NoiseExtractor
from tests.support.images import gradient, quarters


def test_equal_photographs_have_equal_noise_and_others_another() -> None:
    extractor = NoiseExtractor(64)
    noise = extractor.extract([gradient(), quarters(), gradient()])[NOISE]
    first, other, again = noise.values[:, 0]
    assert torch.equal(first, again)
    assert noise.mask.all()
    torch.testing.assert_close(noise.values.norm(dim=-1), torch.ones(3, 1))
    assert abs(float(first @ other)) < 0.5


def test_a_photograph_that_is_nearly_the_same_has_other_noise() -> None:
    image = gradient()
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    first, other = NoiseExtractor(64).extract([image, changed])[NOISE].values[:, 0]
    assert not torch.allclose(first, other)
