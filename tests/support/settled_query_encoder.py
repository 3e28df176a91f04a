"""An untrained query encoder that distinguishes images, which needs settled batch statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aff_toolkit.models.query_encoder import QueryEncoder
from gallery_indexer.features.networks.resnet import ResidualNetwork


def coloured_tiles(images: int, size: int, *, seed: int) -> Tensor:
    """Images (B, size, size, 3) uint8 of 4 x 4 coloured tiles."""
    tiles = torch.randint(0, 256, (images, 3, 4, 4), generator=torch.Generator().manual_seed(seed))
    grown = nn.functional.interpolate(tiles.float(), size=(size, size), mode="nearest")
    return grown.permute(0, 2, 3, 1).to(torch.uint8)


@torch.no_grad()
def settled_query_encoder(dimension: int, size: int) -> QueryEncoder:
    """Make the encoder; one pass over 16 images sets its batch statistics."""
    torch.manual_seed(0)
    encoder = QueryEncoder(ResidualNetwork(4, dimension))
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 1.0
    encoder.train()(coloured_tiles(16, size, seed=0))
    return encoder.eval()
