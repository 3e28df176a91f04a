"""The cost of query backbones: parameters, arithmetic, size of the graph, latency on this machine."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict
from torch.utils.flop_counter import FlopCounterMode

from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.models.query_backbones import QUERY_BACKBONES
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder

_RUNS, _WARM_UP = 20, 3


class EncoderFigures(BaseModel):
    """The cost of a query backbone.

    Attributes:
        name: Backbone.
        parameters: Number of parameters.
        mflop: 10^6 multiply-adds per photograph.
        onnx_mb: Size of the float32 graph in 10^6 bytes.
        latency_ms: Median latency of encoding one photograph as the query service does.
        size: Input side in pixels.
        dimension: Embedding dimension D.
        threads: Threads of ONNX Runtime.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    parameters: int
    mflop: float
    onnx_mb: float
    latency_ms: float
    size: int
    dimension: int
    threads: int


def measure_encoder(name: str, *, size: int, dimension: int, threads: int) -> EncoderFigures:
    """Build a backbone with random weights, export it, and run the graph."""
    torch.manual_seed(0)
    encoder = QUERY_BACKBONES[name].build(dimension).eval()
    image = torch.zeros(1, size, size, 3, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder(image)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "query_encoder.onnx")
        export_query_encoder(encoder, size, path)
        served = OnnxQueryEncoder.open(path, Preprocessing(resize="stretch", size=size), dimension, threads=threads)
        return EncoderFigures(
            name=name,
            parameters=sum(parameter.numel() for parameter in encoder.parameters()),
            mflop=counter.get_total_flops() / 2e6,
            onnx_mb=path.stat().st_size / 1e6,
            latency_ms=1e3 * _latency_s(served, size),
            size=size,
            dimension=dimension,
            threads=threads,
        )


def _latency_s(encoder: OnnxQueryEncoder, size: int) -> float:
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    times = []
    for _ in range(_RUNS + _WARM_UP):
        started = time.perf_counter()
        encoder.encode([image])
        times.append(time.perf_counter() - started)
    return statistics.median(times[_WARM_UP:])
