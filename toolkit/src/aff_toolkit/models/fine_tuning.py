"""Fine-tuning of a pretrained query encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from aff_toolkit.models.query_encoder import LightweightEncoder, QueryEncoder
from gallery_indexer.features.networks.efficientnet_lite import EfficientNetLite


class FineTuning(BaseModel):
    """How a pretrained query encoder is trained; batch normalisations keep their statistics.

    Attributes:
        frozen_blocks: Number of first blocks of EfficientNet-Lite that keep their weights, with the stem.
        learning_rate_share: Learning rate of the query encoder as a share of the mixer's.
        trained_share: Share of the change that is kept: 1 keeps the trained weights; 0.5 averages them with the initial
            weights, which is more accurate on photographs that differ from the training photographs (WiSE-FT: Wortsman
            et al., CVPR 2022).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    frozen_blocks: int = Field(default=0, ge=0)
    learning_rate_share: float = Field(default=1.0, ge=0)
    trained_share: float = Field(default=1.0, ge=0, le=1)

    def freeze(self, encoder: QueryEncoder) -> None:
        """Freeze the first blocks.

        Raises:
            ValueError: The network does not have as many blocks.
        """
        if not self.frozen_blocks:
            return
        trunk = encoder.network.trunk if isinstance(encoder.network, LightweightEncoder) else None
        if not isinstance(trunk, EfficientNetLite) or self.frozen_blocks > len(trunk.blocks):
            raise ValueError(f"this query encoder has no {self.frozen_blocks} blocks that could be frozen")
        for part in (trunk.conv_stem, trunk.bn_stem, *trunk.blocks[: self.frozen_blocks]):
            part.requires_grad_(False)

    @torch.no_grad()
    def keep_share(self, encoder: nn.Module, start: Mapping[str, Tensor]) -> None:
        """Interpolate between the initial and the trained weights by `trained_share`."""
        for name, tensor in encoder.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.lerp(start[name].to(tensor.device), tensor, self.trained_share))

    @contextmanager
    def share_kept(self, encoder: nn.Module, start: Mapping[str, Tensor]) -> Iterator[None]:
        """Context in which the encoder has the weights that `keep_share` would set; they are restored afterwards."""
        if self.trained_share == 1:
            yield
            return
        trained = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
        self.keep_share(encoder, start)
        try:
            yield
        finally:
            encoder.load_state_dict(trained)


def batch_normalisations(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the batch normalisations of a network."""
    return (module for module in network.modules() if isinstance(module, _BatchNorm))
