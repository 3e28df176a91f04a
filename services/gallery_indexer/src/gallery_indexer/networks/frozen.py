"""Networks that only run."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def frozen(network: _Network, device: torch.device) -> _Network:
    """Bring a convolutional network to a device, in evaluation mode, its weights laid out for channels-last pixels."""
    network.eval().requires_grad_(False).to(device)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
