"""The extractors that `aff bench extractors` knows, with fresh weights: speed does not depend on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file, save_model

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.weights.formats.checkpoint_format import CheckpointFormat
from aff_toolkit.weights.formats.checkpoint_formats import CHECKPOINT_FORMATS
from gallery_indexer.features.extractors.hub_backbone import GlobalHead, HubBackbone, HubBackboneConfig, build_model
from gallery_indexer.features.extractors.hub_backbone import feature_width as width_of

_WEIGHTS = "weights.safetensors"
_CENTRED = (0.5, 0.5, 0.5)

# Writes weights into a directory, and describes the extractor that they make.
Writer = Callable[[Path], ExtractorSpec]


@dataclass(frozen=True, slots=True)
class _HubModel:
    """A model of the hub by its architecture.

    Attributes:
        size: Pixels of a side of its input.
        head: Of its global feature.
        model: What its configuration says, where that is not the default of its type.
    """

    size: int
    head: GlobalHead
    model: Mapping[str, Any]


def _large(model_type: str, patch: int, **more: Any) -> dict[str, Any]:
    """Return a transformer of ViT-L's size."""
    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16}
    return {"model_type": model_type, "patch_size": patch, **sizes, **more}


_HUB_MODELS: Mapping[str, _HubModel] = {
    "dinov2-small": _HubModel(
        224, "cls", {"model_type": "dinov2", "patch_size": 14, "hidden_size": 384, "num_attention_heads": 6}
    ),
    "dinov2-base": _HubModel(224, "cls", {"model_type": "dinov2", "patch_size": 14}),
    "dinov2-large": _HubModel(224, "cls", _large("dinov2", 14)),
    "dinov3-vitl16": _HubModel(256, "cls", _large("dinov3_vit", 16, intermediate_size=4096, num_register_tokens=4)),
    "clip-vit-l14": _HubModel(224, "pooled", _large("clip_vision_model", 14, intermediate_size=4096)),
    "siglip2-so400m": _HubModel(
        384,
        "pooled",
        {
            "model_type": "siglip_vision_model",
            "patch_size": 14,
            "image_size": 384,
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
        },
    ),
    "convnextv2-base": _HubModel(
        224, "pooled", {"model_type": "convnextv2", "depths": [3, 3, 27, 3], "hidden_sizes": [128, 256, 512, 1024]}
    ),
    "swin-base": _HubModel(
        224,
        "pooled",
        {"model_type": "swin", "embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
    ),
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
    """Return every extractor of the bench in a precision: those of the literature, then those of the hub."""
    return {
        **{name: partial(_released, form, precision) for name, form in CHECKPOINT_FORMATS.items()},
        **{name: partial(_of_the_hub, name, precision) for name in _HUB_MODELS},
    }
