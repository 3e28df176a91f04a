"""The smallest models of every kind of the hub that an extractor may be, in the hub's own format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

_TRANSFORMER = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
_MAPS = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}


@dataclass(frozen=True)
class HubModel:
    """A model with fresh weights.

    Attributes:
        size: Pixels of a side that it takes.
        build: Builder of the model, with that many layers where their number can be chosen.
    """

    size: int
    build: Callable[[Any, int], Any]


def _dinov2(transformers: Any, layers: int) -> Any:
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=layers, num_attention_heads=2, image_size=28, patch_size=7
    )
    return transformers.Dinov2Model(config)


def _dinov2_with_registers(transformers: Any, layers: int) -> Any:
    config = transformers.Dinov2WithRegistersConfig(
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        image_size=28,
        patch_size=7,
        num_register_tokens=2,
    )
    return transformers.Dinov2WithRegistersModel(config)


def _dinov3(transformers: Any, layers: int) -> Any:
    config = transformers.DINOv3ViTConfig(
        **_TRANSFORMER, num_hidden_layers=layers, image_size=32, patch_size=8, num_register_tokens=4
    )
    return transformers.DINOv3ViTModel(config)


def _clip(transformers: Any, layers: int) -> Any:
    vision = {**_TRANSFORMER, "num_hidden_layers": layers, "image_size": 32, "patch_size": 8}
    text = {**_TRANSFORMER, "num_hidden_layers": 1, "vocab_size": 50}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision))


def _siglip(transformers: Any, layers: int) -> Any:
    vision = {**_TRANSFORMER, "num_hidden_layers": layers, "image_size": 32, "patch_size": 8}
    text = {**_TRANSFORMER, "num_hidden_layers": 1, "vocab_size": 50}
    return transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision))


HUB_MODELS: dict[str, HubModel] = {
    "dinov2": HubModel(56, _dinov2),
    "dinov2_with_registers": HubModel(56, _dinov2_with_registers),
    "dinov3_vit": HubModel(56, _dinov3),
    "clip": HubModel(56, _clip),
    "siglip": HubModel(56, _siglip),
    "dinov3_convnext": HubModel(64, lambda t, _: t.DINOv3ConvNextModel(t.DINOv3ConvNextConfig(**_MAPS))),
    "convnextv2": HubModel(64, lambda t, _: t.ConvNextV2Model(t.ConvNextV2Config(**_MAPS))),
    "resnet": HubModel(64, lambda t, _: t.ResNetModel(t.ResNetConfig(**_MAPS, embedding_size=8, layer_type="basic"))),
    "swin": HubModel(
        64,
        lambda t, _: t.SwinModel(
            t.SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=2, image_size=64)
        ),
    ),
}


def save_hub_model(name: str, folder: Path, *, layers: int = 2) -> Path:
    """Write configuration, normalisation and safetensors as the hub has them; return the folder."""
    import transformers  # noqa: PLC0415 - takes seconds

    torch.manual_seed(0)
    model = HUB_MODELS[name].build(transformers, layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))  # biases and positions that start at zero must count
    model.save_pretrained(folder)
    normalisation = {"image_mean": MEAN, "image_std": STD, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(normalisation), encoding="utf-8")
    return folder
