"""The speed of extractors, relative to the machine's matrix throughput; random weights are as fast as trained ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file, save_model
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from aff_benchmarks.bench.measuring import median_seconds
from aff_benchmarks.records import FrozenModel
from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS, CheckpointFormat
from gallery_indexer.features.extractors.extractor import Extractor, Images
from gallery_indexer.features.extractors.hub_backbone import GlobalHead, HubBackbone, HubBackboneConfig, build_model
from gallery_indexer.features.extractors.hub_backbone import feature_width as width_of
from gallery_indexer.features.extractors.load_extractor import load_extractor

_ASPECT = 3 / 4
_MATRIX_SIDE = {"cuda": 8192, "cpu": 2048}


class ExtractorBench(FrozenModel):
    """The speed of one extractor, a checkpoint format or a hub model, from decoded photographs in memory to features.

    Attributes:
        input_size: Longest side in pixels of the photographs, which are 4:3.
        precision: `fp32` or `bf16`.
        scales: Number of scales at which a photograph is processed.
        gflop_per_image: 10^9 floating-point operations (a multiply and an add are two), over all scales.
        tflop_per_s: `gflop_per_image` times `images_per_s` / 1000.
        matrix_tflop_per_s: Speed of a large matrix product in the same precision, in the same run.
        share: `tflop_per_s` relative to `matrix_tflop_per_s`.
    """

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
    """Measure an extractor of `benched_extractors` at its input size."""
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
    """Return the floating-point operations per second of a product of two large square matrices.

    On a GPU, fp32 is measured in TF32, the default of torch for fp32 convolutions.
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
    def whole() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return median_seconds(whole, rounds)


_WEIGHTS = "weights.safetensors"
_CENTRED = (0.5, 0.5, 0.5)

# Writes weights into a directory, and returns the extractor's specification.
Writer = Callable[[Path], ExtractorSpec]


class _HubModel(NamedTuple):
    """A hub model: input side, head of its global feature, and configuration where it differs from its type's."""

    size: int
    head: GlobalHead
    model: Mapping[str, Any]


def _large(model_type: str, patch: int, **more: Any) -> dict[str, Any]:
    """Return the configuration of a transformer of ViT-L's size."""
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    return {"model_type": model_type, "patch_size": patch, **sizes, **more}


_SMALL = {"hidden_size": 384, "num_attention_heads": 6}
_SIGLIP2 = _large(
    "siglip_vision_model", 14, image_size=384, hidden_size=1152, intermediate_size=4304, num_hidden_layers=27
)
_CONVNEXT = {"depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]}
_SWIN = {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]}
_HUB_MODELS: Mapping[str, _HubModel] = {
    "dinov2-small": _HubModel(224, "cls", {"model_type": "dinov2", "patch_size": 14, **_SMALL}),
    "dinov2-base": _HubModel(224, "cls", {"model_type": "dinov2", "patch_size": 14}),
    "dinov2-large": _HubModel(224, "cls", _large("dinov2", 14)),
    "dinov3-vitl16": _HubModel(256, "cls", _large("dinov3_vit", 16, intermediate_size=4096, num_register_tokens=4)),
    "clip-vit-l14": _HubModel(224, "pooled", _large("clip_vision_model", 14, intermediate_size=4096)),
    "siglip2-so400m": _HubModel(384, "pooled", _SIGLIP2),
    "convnextv2-base": _HubModel(224, "pooled", {"model_type": "convnextv2", **_CONVNEXT}),
    "swin-base": _HubModel(224, "pooled", {"model_type": "swin", **_SWIN}),
    "resnet-50": _HubModel(224, "gem", {"model_type": "resnet"}),
}


def _released(form: CheckpointFormat, precision: str, directory: Path) -> ExtractorSpec:
    torch.manual_seed(0)
    weights = {name: tensor.contiguous() for name, tensor in form.network().state_dict().items()}
    save_file(weights, directory / _WEIGHTS)
    spec = form.spec(_WEIGHTS, "fresh weights")
    return spec.model_copy(update={"config": {**spec.config, "precision": precision}})


def _of_the_hub(name: str, precision: str, directory: Path) -> ExtractorSpec:
    torch.manual_seed(0)
    chosen = _HUB_MODELS[name]
    model = build_model(chosen.model, with_attentions=False)
    save_model(model, str(directory / _WEIGHTS))
    config = HubBackboneConfig.model_validate(
        {
            "model": model.config.to_dict(),  # type: ignore[operator, union-attr]
            "mean": _CENTRED,
            "std": _CENTRED,
            "global_head": chosen.head,
            "precision": precision,
        }
    )
    identifier = name.replace("-", "_")
    feature = FeatureSpec(name=identifier, kind="global", dimension=width_of(config.model), max_tokens=1)
    return ExtractorSpec(
        name=identifier,
        family=HubBackbone.FAMILY,
        preprocessing=Preprocessing(resize="stretch", size=chosen.size),
        features=(feature,),
        weights=_WEIGHTS,
        weights_source="fresh weights",
        config=config.model_dump(mode="json"),
    )


def benched_extractors(precision: str) -> dict[str, Writer]:
    """Return all extractors in a precision: those of the literature, then those of the hub."""
    return {
        **{name: partial(_released, form, precision) for name, form in CHECKPOINT_FORMATS.items()},
        **{name: partial(_of_the_hub, name, precision) for name in _HUB_MODELS},
    }
