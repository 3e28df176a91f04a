"""Loads a query encoder's weights from the ONNX graph of a bundle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from aff_shared.errors import BundleFormatError
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.weights.half_weights import restore_weights

_Layer = nn.Conv2d | nn.Linear
_Norm = nn.BatchNorm2d | nn.BatchNorm1d


@torch.no_grad()
def load_onnx_weights(encoder: QueryEncoder, path: Path, images: Tensor | None) -> None:
    """Load the weights of an ONNX graph of the same architecture into an encoder, so that training can continue.

    The export folds every batch normalisation into the layer before it. The folded weights are loaded, and each
    normalisation is set to its statistics on the images, with the scale and the shift that undo them.

    Args:
        encoder: Set in place; left in evaluation mode.
        path: The graph, written by export_query_encoder; its weights may be halved.
        images: (B, S, S, 3) uint8 training photographs. None leaves the normalisations folded, for an encoder that is
            not trained.

    Raises:
        BundleFormatError: The graph does not contain the weights of such an encoder.
    """
    try:
        graph = restore_weights(onnx.load(path)).graph
        found = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        for name, layer, norm in _layers(encoder):
            layer.weight.copy_(found[f"{name}.weight"])
            if norm is None:
                _load_bias(layer, found, name)
            else:
                _load_folded(layer, norm, found, name)
        encoder.get_parameter("network.pool.exponent").copy_(found["network.pool.exponent"])
    except (KeyError, RuntimeError, OSError, ValueError) as error:
        detail = f"does not contain the weights of this query encoder ({error}): train one from scratch"
        raise BundleFormatError(detail, item=str(path)) from error
    if images is None:
        encoder.eval()
    else:
        _take_statistics(encoder, images)


def _layers(encoder: nn.Module) -> Iterator[tuple[str, _Layer, _Norm | None]]:
    """Yield every layer by name, with the normalisation that follows it, if any."""
    before: tuple[str, _Layer] | None = None
    for name, module in encoder.named_modules():
        if isinstance(module, _Norm) and before is not None:
            yield (*before, module)
            before = None
        elif isinstance(module, _Layer):
            if before is not None:
                yield (*before, None)
            before = (name, module)
    if before is not None:
        yield (*before, None)


def _load_bias(layer: _Layer, found: Mapping[str, Tensor], name: str) -> None:
    if layer.bias is not None:
        layer.bias.copy_(found[f"{name}.bias"])


def _load_folded(layer: _Layer, norm: _Norm, found: Mapping[str, Tensor], name: str) -> None:
    if layer.bias is not None:
        layer.bias.zero_()
    norm.reset_running_stats()
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    norm.bias.copy_(found[f"{name}.{'bias' if isinstance(layer, nn.Linear) else 'weight_bias'}"])


def _take_statistics(encoder: nn.Module, images: Tensor) -> None:
    """Set every normalisation to mean and variance of its input, without changing the encoder's outputs."""
    seen: dict[_Norm, tuple[Tensor, Tensor]] = {}

    def note(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(norm, _Norm)
        values = inputs[0].transpose(0, 1).flatten(1)
        seen[norm] = values.mean(dim=1), values.var(dim=1)

    hooks = [norm.register_forward_pre_hook(note) for _, _, norm in _layers(encoder) if norm is not None]
    encoder.eval()(images)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in seen.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)
