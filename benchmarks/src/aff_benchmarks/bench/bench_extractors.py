"""How fast extractors run here, and what share of the machine's matrix throughput that is."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from aff_benchmarks.bench.benched_extractors import benched_extractors
from gallery_indexer.features.extractors.extractor import Extractor, Images
from gallery_indexer.features.extractors.load_extractor import load_extractor

_ASPECT = 3 / 4
_MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}


class ExtractorBench(BaseModel):
    """What was measured of one extractor.

    Attributes:
        name: Format of its checkpoints, or what the model of the hub is called.
        input_size: Pixels of the longest side of the photographs, which are of 4:3.
        precision: `fp32` or `bf16`.
        scales: How many times a photograph is seen.
        gflop_per_image: 10^9 floating-point operations (a multiply and an add are two), over all scales.
        images_per_s: From decoded photographs in memory to features.
        tflop_per_s: The product of the two.
        matrix_tflop_per_s: Of a large product of matrices in the same precision, in the same run.
        share: Of the last but one in the last.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    input_size: int
    precision: str
    scales: int
    gflop_per_image: float
    images_per_s: float
    tflop_per_s: float
    matrix_tflop_per_s: float
    share: float


def bench_extractor(name: str, *, precision: str, batch_size: int, rounds: int, device: torch.device) -> ExtractorBench:
    """Measure an extractor of `benched_extractors` at its own input size."""
    with tempfile.TemporaryDirectory() as temporary:
        spec = benched_extractors(precision)[name](Path(temporary))
        extractor = load_extractor(spec, Path(temporary), device)
    size = spec.preprocessing.size
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (round(size * _ASPECT), size, 3), dtype=np.uint8) for _ in range(batch_size)]
    flop = _flop_of_one(extractor, images[:1])
    seconds = _median_seconds(lambda: extractor.extract(images), rounds, device) / batch_size
    matrix = matrix_flop_per_s(device, precision, rounds)
    return ExtractorBench(
        name=name,
        input_size=size,
        precision=precision,
        scales=len(spec.config.get("scales", [1])),
        gflop_per_image=flop / 1e9,
        images_per_s=1 / seconds,
        tflop_per_s=flop / seconds / 1e12,
        matrix_tflop_per_s=matrix / 1e12,
        share=flop / seconds / matrix,
    )


def matrix_flop_per_s(device: torch.device, precision: str, rounds: int) -> float:
    """Measure a product of two large square matrices, in floating-point operations per second.

    On a card, fp32 is measured in TF32, which torch lets convolutions of fp32 run in.
    """
    side = _MATRIX_SIDE[device.type]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    first, second = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    allowed = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        return 2 * side**3 / _median_seconds(lambda: first @ second, rounds, device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = allowed


def _flop_of_one(extractor: Extractor, images: Images) -> float:
    fused = (torch.ops.aten.cudnn_convolution_relu, torch.ops.aten.cudnn_convolution_add_relu)
    with FlopCounterMode(display=False, custom_mapping=dict.fromkeys(fused, _convolution_flop)) as counter:
        extractor.extract(images)
    return float(counter.get_total_flops())


def _convolution_flop(x: torch.Size, weight: torch.Size, *_: object, out_shape: torch.Size) -> int:
    return int(conv_flop_count(list(x), list(weight), list(out_shape)))


def _median_seconds(call: Callable[[], object], rounds: int, device: torch.device) -> float:
    times: list[float] = []
    for _ in range(rounds + 1):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
