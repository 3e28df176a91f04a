"""The precision that a frozen network runs in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def autocast(device: torch.device, config: Mapping[str, Any]) -> torch.autocast:
    """Return bfloat16 on a card where an extractor's `config` says `precision: bf16`; else float32, which is exact."""
    enabled = config.get("precision", "fp32") == "bf16" and device.type == "cuda"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
