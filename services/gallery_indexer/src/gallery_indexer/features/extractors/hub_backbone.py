"""Foundation models of the Hugging Face hub, through transformers: one global feature, one local feature, or both.

DINOv2 (with or without registers), DINOv3 (transformer and ConvNeXt), the vision towers of CLIP and SigLIP (and of
SigLIP 2 models with a fixed resolution), ConvNeXt V2, Swin and ResNet. The bundle has the architecture in its
specification and the weights in safetensors; nothing is downloaded, and no code of the hub is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_model
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.landmark_extractor import (
    on_device,
    pool_patches,
    shape_batches,
    strongest_patches,
)
from gallery_indexer.features.networks.layers import normalise, runs_in_bf16

GlobalHead = Literal["cls", "mean", "gem", "pooled"]
LocalBy = Literal["attention", "norm"]

_MAP_AXES = 4


@dataclass(frozen=True, slots=True)
class _Kind:
    """Properties of a model type.

    Attributes:
        prefix: Number of tokens before the patches, without registers: 1 for a class token.
        has_class_attention: Whether the first token attends to the patches in the last layer.
        interpolates: Whether interpolation of positions has to be requested for sizes other than the training's.
    """

    prefix: int = 0
    has_class_attention: bool = False
    interpolates: bool = False


KINDS: Mapping[str, _Kind] = {
    "dinov2": _Kind(prefix=1, has_class_attention=True),
    "dinov2_with_registers": _Kind(prefix=1, has_class_attention=True),
    "dinov3_vit": _Kind(prefix=1, has_class_attention=True),
    "dinov3_convnext": _Kind(prefix=1),
    "clip_vision_model": _Kind(prefix=1, has_class_attention=True, interpolates=True),
    "siglip_vision_model": _Kind(interpolates=True),
    "convnextv2": _Kind(),
    "swin": _Kind(),
    "resnet": _Kind(),
}


class HubBackboneConfig(BaseModel):
    """The `config` of the specification.

    Attributes:
        model: The complete configuration of the hub's model.
        mean: Mean that is subtracted from the pixels from 0 to 1, by channel.
        std: Standard deviation that they are divided by, by channel.
        global_head: `cls` is the class token, `mean` and `gem` pool the patches, `pooled` is the model's own head.
        local_by: Strength of patches: the class token's attention to them in the last layer, averaged over its heads,
            or their norm.
        precision: `bf16` runs the model in bfloat16 on a GPU, weights and activations.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: dict[str, Any]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    global_head: GlobalHead | None = None
    local_by: LocalBy | None = None
    precision: Literal["fp32", "bf16"] = "fp32"


class HubBackbone:
    """A frozen model of the hub as an extractor; its features are unit vectors."""

    FAMILY: ClassVar[str] = "hub_backbone"

    def __init__(self, spec: ExtractorSpec, model: nn.Module, device: torch.device) -> None:
        """Wrap a model with loaded weights.

        Raises:
            ValueError: The model does not support the configuration.
        """
        self.spec = spec
        self._config = HubBackboneConfig.model_validate(spec.config)
        self._kind = kind_of(self._config.model)
        self._registers = int(self._config.model.get("num_register_tokens", 0))
        self._global = next((feature for feature in spec.features if feature.kind == "global"), None)
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        check_heads(self._config)
        check_size(self._config.model, spec.preprocessing)
        self._device = device
        self._dtype = torch.bfloat16 if runs_in_bf16(device, spec.config) else torch.float32
        self._model = model.eval().to(device, self._dtype)

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> HubBackbone:
        """Build the model that the specification describes, and load its weights; names and shapes have to match."""
        config = HubBackboneConfig.model_validate(spec.config)
        model = build_model(config.model, with_attentions=config.local_by == "attention")
        load_model(model, weights)
        return cls(spec, model, device)

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor."""
        ((_, pixels),) = shape_batches(images, self.spec.preprocessing)  # stretched to one shape
        normalised = normalise(on_device(pixels, self._device), self._config.mean, self._config.std)
        output = self._run(normalised.to(self._dtype))
        tokens, height, width = self._patches(output.last_hidden_state)
        features = {}
        if self._global is not None:
            features[self._global.name] = FeatureBatch.from_global(F.normalize(self._pool(output, tokens), dim=-1))
        if self._local is not None:
            features[self._local.name] = strongest_patches(
                tokens, self._strengths(output, tokens), (height, width), self._local.max_tokens
            )
        return features

    def _run(self, pixels: Tensor) -> Any:
        options: dict[str, bool] = {"interpolate_pos_encoding": True} if self._kind.interpolates else {}
        if self._config.local_by == "attention":
            options["output_attentions"] = True
        return self._model(pixel_values=pixels, **options)

    def _patches(self, hidden: Tensor) -> tuple[Tensor, int, int]:
        """Return patch tokens (B, N, d) float32 row by row, and rows and columns of their grid."""
        if hidden.ndim == _MAP_AXES:
            height, width = hidden.shape[-2:]
            return hidden.flatten(2).transpose(1, 2).float(), height, width
        tokens = hidden[:, self._prefix :].float()
        # Photographs are stretched to a square that is a multiple of the patch size.
        side = round(tokens.shape[1] ** 0.5)
        return tokens, side, side

    @property
    def _prefix(self) -> int:
        return self._kind.prefix + self._registers

    def _pool(self, output: Any, tokens: Tensor) -> Tensor:
        head = self._config.global_head
        if head == "pooled":
            pooled: Tensor = output.pooler_output
            return pooled.flatten(1).float()
        if head == "cls":
            hidden: Tensor = output.last_hidden_state
            return hidden[:, 0].float()
        assert head is not None
        return pool_patches(tokens, head)

    def _strengths(self, output: Any, tokens: Tensor) -> Tensor:
        if self._config.local_by == "norm":
            norms: Tensor = tokens.norm(dim=-1)
            return norms
        attention: Tensor = output.attentions[-1][:, :, 0, self._prefix :]
        return attention.float().mean(dim=1)


def kind_of(model: Mapping[str, Any]) -> _Kind:
    """Return the properties of a model's type.

    Raises:
        ValueError: The type is not supported.
    """
    model_type = str(model.get("model_type"))
    if model_type not in KINDS:
        raise ValueError(f"models of type {model_type!r} are not supported; supported: {', '.join(sorted(KINDS))}")
    return KINDS[model_type]


def check_heads(config: HubBackboneConfig) -> None:
    """Check that the model has the configured heads.

    Raises:
        ValueError: It has no class token, or none that attends to patches.
    """
    kind, model_type = kind_of(config.model), config.model["model_type"]
    if config.global_head == "cls" and kind.prefix == 0:
        raise ValueError(f"{model_type} has no class token: use the head mean, gem or pooled")
    if config.local_by == "attention" and not kind.has_class_attention:
        raise ValueError(f"{model_type} has no class token that attends to patches: select patches by norm")


def check_size(model: Mapping[str, Any], preprocessing: Preprocessing) -> None:
    """Check that the input size is a multiple of the model's patch size.

    Raises:
        ValueError: Photographs are not stretched to a square, or the size is neither a multiple nor the size of the
            training (SigLIP's 384 pixels with patches of 14); the message has the nearest multiple.
    """
    if preprocessing.resize != "stretch":
        raise ValueError("models of the hub need square inputs: photographs have to be stretched")
    size, patch = preprocessing.size, model.get("patch_size")
    if isinstance(patch, int) and size % patch and size != model.get("image_size"):
        nearest = max(patch, round(size / patch) * patch)
        raise ValueError(f"an input of {size} pixels is not a multiple of the patch size {patch}; use {nearest}")


def feature_width(model: Mapping[str, Any]) -> int:
    """Return the width of a model's tokens."""
    if "hidden_sizes" in model:
        return int(model["hidden_sizes"][-1])
    if model["model_type"] == "swin":
        return int(model["embed_dim"]) << (len(model["depths"]) - 1)
    return int(model["hidden_size"])


def build_model(model: Mapping[str, Any], *, with_attentions: bool) -> nn.Module:
    """Build a model with random weights from its configuration; nothing is downloaded.

    Raises:
        ValueError: The type is not supported.
    """
    from transformers import AutoConfig, AutoModel  # noqa: PLC0415 - takes seconds, and only this extractor needs it

    kind_of(model)
    config = AutoConfig.for_model(**model)
    options = {"attn_implementation": "eager"} if with_attentions else {}
    built: nn.Module = AutoModel.from_config(config, dtype=torch.float32, **options)
    return built
