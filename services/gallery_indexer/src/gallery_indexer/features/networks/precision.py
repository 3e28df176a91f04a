"""The precision that a frozen network runs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def runs_in_bf16(device: torch.device, config: Mapping[str, Any]) -> bool:
    """Tell whether an extractor runs in bfloat16: on a card, where its `config` says `precision: bf16`."""
    return config.get("precision", "fp32") == "bf16" and device.type == "cuda"


def autocast(device: torch.device, config: Mapping[str, Any]) -> torch.autocast:
    """Return bfloat16 where an extractor runs in it; else float32, which is exact."""
    return torch.autocast(device.type, torch.bfloat16, enabled=runs_in_bf16(device, config))


def keep_matrices_in_bf16(network: nn.Module) -> None:
    """Round weights of convolutions and linear layers once: autocast rounds those of a frozen network at each call."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.to(torch.bfloat16)
