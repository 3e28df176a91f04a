"""The running statistics of batch normalisation, where several processes share a training."""

from __future__ import annotations

import torch
from accelerate.accelerator import Accelerator
from torch import nn


@torch.no_grad()
def average_running_statistics(module: nn.Module, accelerator: Accelerator) -> None:
    """Set the running means and variances of the layers that learn to their averages over the processes.

    A process normalises its batches by their own statistics, as one that accumulates batches does, and keeps a running
    average of those. A model that is validated or saved takes what all processes have seen. Called by every process.

    Args:
        module: On the accelerator's device; layers in evaluation mode stay as they are.
        accelerator: Of the training.
    """
    if accelerator.num_processes == 1:
        return
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.training:
            for statistic in (layer.running_mean, layer.running_var):
                if statistic is not None:
                    statistic.copy_(accelerator.reduce(statistic, reduction="mean"))
