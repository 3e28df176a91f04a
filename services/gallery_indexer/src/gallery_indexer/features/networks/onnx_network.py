"""Frozen networks in ONNX Runtime, which on a CPU takes about half of torch's time for depthwise convolutions."""

from __future__ import annotations

import io
import logging
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as native
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
from torch import Tensor, nn

from aff_shared.resource_limits import usable_cores

_INPUT = "pixels"
_OPSET = 17
_WORTHWHILE = 16
_TOLERANCE = 1e-3

Output = Tensor | tuple[Tensor, ...]

_logger = logging.getLogger(__name__)
_one_export = threading.Lock()  # torch's exporter has global state


class OnnxNetwork(nn.Module):
    """Runs a frozen network on the CPU: first in torch, and after 16 images in ONNX Runtime.

    Building the graph takes as long as a few images. The outputs of both are compared once, on photographs: if they
    differ, or if ONNX Runtime fails, the network stays in torch and a warning is logged. Each image runs in one thread,
    and as many images at a time as there are cores, since an image's activations fit the cache and a batch's do not.

    Args:
        network: The network on the CPU, in evaluation mode: (B, 3, H, W) float32 -> a tensor, or several, with B rows.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = network
        self._seen = 0
        self._session: InferenceSession | None = None

    def forward(self, pixels: Tensor) -> Output:
        """Run the network on (B, 3, H, W) float32."""
        if self._session is not None:
            return self._in_onnx_runtime(self._session, pixels)
        outputs: Output = self._network(pixels)
        before, self._seen = self._seen, self._seen + len(pixels)
        if before < _WORTHWHILE <= self._seen:
            self._session = self._checked(pixels, outputs)
        return outputs

    def _in_onnx_runtime(self, session: InferenceSession, pixels: Tensor) -> Output:
        try:
            return _run(session, pixels)
        except _ERRORS:
            _logger.warning("ONNX Runtime failed; %s continues in torch", self._name, exc_info=True)
            self._session = None
            outputs: Output = self._network(pixels)
            return outputs

    def _checked(self, pixels: Tensor, expected: Output) -> InferenceSession | None:
        try:
            session = _session_of(self._network, pixels)
            difference = _largest_difference(_tensors(_run(session, pixels)), _tensors(expected))
        except _ERRORS:
            _logger.warning("%s does not run in ONNX Runtime and continues in torch", self._name, exc_info=True)
            return None
        if not difference < _TOLERANCE:
            _logger.warning("%s differs by %g in ONNX Runtime and continues in torch", self._name, difference)
            return None
        return session

    @property
    def _name(self) -> str:
        return type(self._network).__name__


# ONNX Runtime's exceptions have no common base class. Torch's exporter raises RuntimeError, also for what it lacks.
_NATIVE = (kind for kind in vars(native).values() if isinstance(kind, type) and issubclass(kind, Exception))
_ERRORS: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError, ImportError, *_NATIVE)


def _session_of(network: nn.Module, pixels: Tensor) -> InferenceSession:
    file = io.BytesIO()
    with _one_export, warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(  # the exporter that traces: the newer one takes minutes
            network,
            (pixels[:1].clone(),),
            file,  # type: ignore[arg-type] # declared as a path, although a file is allowed with this exporter
            input_names=[_INPUT],
            dynamic_axes={_INPUT: {0: "images", 2: "height", 3: "width"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    options = native.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Activations that fade to denormal numbers would take twenty times as long as zeros.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(usable_cores(), thread_name_prefix="extract")


def _run(session: InferenceSession, pixels: Tensor) -> Output:
    def run(image: Tensor) -> Sequence[NDArray[np.float32]]:
        outputs = session.run(None, {_INPUT: image[None].contiguous().numpy()})
        return [np.asarray(one, np.float32) for one in outputs]

    images = list(_threads().map(run, pixels))
    outputs = tuple(torch.from_numpy(np.concatenate(rows)) for rows in zip(*images, strict=True))
    return outputs if len(outputs) > 1 else outputs[0]


def _tensors(output: Output) -> tuple[Tensor, ...]:
    return (output,) if isinstance(output, Tensor) else output


def _largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference, relative to the largest value of its output."""
    return max(
        float((one - other).abs().max() / other.abs().max().clamp(min=_TOLERANCE))
        for one, other in zip(found, expected, strict=True)
    )
