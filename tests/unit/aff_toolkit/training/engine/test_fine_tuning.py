"""A pretrained query encoder keeps its first blocks, its statistics, and a share of its weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.engine.joint_model import FineTuning
from gallery_indexer.features.networks.resnet import ResidualNetwork

LITE, BLOCKS = "efficientnet-lite0", 16


@pytest.fixture(scope="module")
def lite() -> QueryEncoder:
    torch.manual_seed(0)
    return QUERY_BACKBONES[LITE].build(8)


def parts_that_learn(encoder: QueryEncoder) -> set[str]:
    """Return the parts of a trunk, blocks by their numbers, that a gradient reaches."""
    encoder.zero_grad(set_to_none=True)
    images = torch.randint(0, 256, (2, 32, 32, 3), generator=torch.Generator().manual_seed(1)).float()
    encoder(images)[:, 0].sum().backward()
    names = [name.removeprefix("network.trunk.") for name, p in encoder.named_parameters() if p.grad is not None]
    return {name.split(".")[1] if name.startswith("blocks.") else name.split(".")[0] for name in names}


@pytest.mark.parametrize("frozen", [1, 6, BLOCKS])
def test_no_gradient_reaches_the_stem_and_the_first_blocks(lite: QueryEncoder, frozen: int) -> None:
    lite.requires_grad_(True)
    FineTuning(frozen_blocks=frozen).freeze(lite)
    learning = parts_that_learn(lite)
    assert learning & {str(block) for block in range(BLOCKS)} == {str(block) for block in range(frozen, BLOCKS)}
    assert learning.isdisjoint({"conv_stem", "bn_stem"})
    assert {"conv_head", "bn_head"} <= learning


def test_without_frozen_blocks_everything_learns(lite: QueryEncoder) -> None:
    lite.requires_grad_(True)
    FineTuning().freeze(lite)
    assert {"conv_stem", "bn_stem", "0"} <= parts_that_learn(lite)


def test_more_blocks_than_there_are_are_rejected(lite: QueryEncoder) -> None:
    with pytest.raises(ValueError, match=f"no {BLOCKS + 1} blocks"):
        FineTuning(frozen_blocks=BLOCKS + 1).freeze(lite)


def test_a_network_without_blocks_cannot_be_frozen_but_can_learn_on() -> None:
    encoder = QueryEncoder(ResidualNetwork(8, 8))
    with pytest.raises(ValueError, match="no 1 blocks"):
        FineTuning(frozen_blocks=1).freeze(encoder)
    FineTuning().freeze(encoder)
    assert all(parameter.requires_grad for parameter in encoder.parameters())


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1.0), (0.5, 3.0), (0.25, 2.0), (1.0, 5.0)])
def test_a_share_of_the_change_is_kept(share: float, expected: float) -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    start = {
        name: torch.full_like(value, 1) for name, value in network.state_dict().items() if value.is_floating_point()
    }
    with torch.no_grad():
        for value in network.state_dict().values():
            value.fill_(5)
    FineTuning(trained_share=share).keep_share(network, start)
    found = network.state_dict()
    assert found.pop("1.num_batches_tracked").item() == 5
    assert len(found) == 6
    for value in found.values():
        torch.testing.assert_close(value, torch.full_like(value, expected))


@pytest.mark.parametrize(("share", "expected"), [(0.25, 2.0), (1.0, 5.0)])
def test_what_would_be_kept_is_there_for_a_while(share: float, expected: float) -> None:
    network = nn.Linear(2, 3)
    start = {name: torch.full_like(value, 1) for name, value in network.state_dict().items()}
    for value in network.state_dict().values():
        value.fill_(5)
    with FineTuning(trained_share=share).share_kept(network, start):
        torch.testing.assert_close(network.weight.detach(), torch.full((3, 2), expected))
    torch.testing.assert_close(network.weight.detach(), torch.full((3, 2), 5.0))
