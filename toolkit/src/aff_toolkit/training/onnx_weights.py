"""Takes a residual query encoder's weights back from the ONNX graph of a bundle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from aff_contracts.errors import BundleFormatError
from aff_toolkit.training.query_encoder import QueryEncoder

_Norm = nn.BatchNorm2d | nn.BatchNorm1d


@torch.no_grad()
def load_onnx_weights(encoder: QueryEncoder, path: Path, images: Tensor) -> None:
    """Make an encoder compute what an ONNX graph of the same architecture computes, ready to be trained on.

    The export folds every batch normalisation into the layer before it. The folded weights are loaded, and each
    normalisation is set to the statistics that the images show it, with the scale and the shift that undo them.

    Args:
        encoder: Set in place; left in evaluation mode.
        path: The graph, written by export_query_encoder.
        images: (B, S, S, 3) uint8 of the photographs that will be trained on.

    Raises:
        BundleFormatError: The graph does not hold the weights of such an encoder.
    """
    try:
        found = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in onnx.load(path).graph.initializer}
        for name, layer, norm in _folded_pairs(encoder):
            bias = "bias" if isinstance(layer, nn.Linear) else "weight_bias"
            layer.weight.copy_(found[f"{name}.weight"])
            if layer.bias is not None:
                layer.bias.zero_()
            norm.reset_running_stats()
            norm.weight.fill_((1 + norm.eps) ** 0.5)
            norm.bias.copy_(found[f"{name}.{bias}"])
        encoder.get_parameter("network.pool.exponent").copy_(found["network.pool.exponent"])
    except (KeyError, RuntimeError, OSError, ValueError) as error:
        detail = f"does not hold the weights of this query encoder ({error}): train one from scratch"
        raise BundleFormatError(detail, item=str(path)) from error
    _take_statistics(encoder, images)


def _folded_pairs(encoder: nn.Module) -> Iterator[tuple[str, nn.Conv2d | nn.Linear, _Norm]]:
    """Give every layer with the normalisation that follows it, by the layer's name."""
    before: tuple[str, nn.Conv2d | nn.Linear] | None = None
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            before = (name, module)
        elif isinstance(module, _Norm) and before is not None:
            yield (*before, module)


def _take_statistics(encoder: nn.Module, images: Tensor) -> None:
    """Set every normalisation to mean and variance of its input, without a change of what the encoder computes."""
    seen: dict[_Norm, Tensor] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _Norm)
        seen[norm] = inputs[0].transpose(0, 1).flatten(1)

    norms = [norm for _, _, norm in _folded_pairs(encoder)]
    hooks = [norm.register_forward_pre_hook(note) for norm in norms]
    encoder.eval()(images)
    for hook in hooks:
        hook.remove()
    for norm, values in seen.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(values.mean(dim=1))
        norm.running_var.copy_(values.var(dim=1))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)
