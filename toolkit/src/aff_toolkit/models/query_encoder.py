"""The query encoder in torch, as it is trained and exported."""

from __future__ import annotations

from torch import Tensor, nn

from gallery_indexer.features.networks.residual_network import ResidualNetwork


class QueryEncoder(nn.Module):
    """A light network with GeM pooling, a linear whitening layer and L2 (Wu et al., CVPR 2023)."""

    def __init__(self, network: nn.Module) -> None:
        """Wrap a network.

        Args:
            network: Gives unit embeddings (B, D) of (B, 3, H, W) pixels from 0 to 255.
        """
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Embed a batch.

        Args:
            image: (B, H, W, 3) RGB from 0 to 255, uint8 or float32.

        Returns:
            q: (B, D) float32, unit length.
        """
        embedding: Tensor = self.network(image.permute(0, 3, 1, 2))
        return embedding


def residual_query_encoder(width: int, dimension: int) -> QueryEncoder:
    """Return the query encoder on this project's own residual network."""
    return QueryEncoder(ResidualNetwork(width, dimension))
