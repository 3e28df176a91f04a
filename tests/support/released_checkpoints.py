"""Checkpoints with fresh weights, as the authors of a method would have released them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.weights.checkpoint_formats import CheckpointFormat

SEED = 20230618


def randomise(network: nn.Module, seed: int = SEED) -> nn.Module:
    """Set a network's weights so that statistics, biases and pooling exponents all matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(1)
        elif name.endswith("exponent"):
            tensor.fill_(2.7)
        elif tensor.ndim > 1:
            deviation = (2 / tensor[0].numel()) ** 0.5
            tensor.normal_(0, deviation, generator=generator)
        elif name.endswith("weight"):
            tensor.uniform_(0.5, 1.0, generator=generator)
        else:
            tensor.normal_(0, 0.1, generator=generator)
    return network


def installed_with_fresh_weights(form: CheckpointFormat, directory: Path) -> ExtractorSpec:
    """Write the weights of a format's network and a specification that refers to them."""
    weights = {name: tensor.contiguous() for name, tensor in randomise(form.network()).state_dict().items()}
    save_file(weights, directory / "weights.safetensors")
    return form.spec("weights.safetensors", "fresh weights")


def photograph(height: int, width: int) -> NDArray[np.uint8]:
    """A photograph of coarse blotches: not so even that activations are alike, not so noisy that smoothing ends it."""
    coarse = np.random.default_rng(SEED).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    image: NDArray[np.uint8] = np.kron(coarse, np.ones((8, 8, 1), dtype=np.uint8))[:height, :width]
    return np.ascontiguousarray(image)
