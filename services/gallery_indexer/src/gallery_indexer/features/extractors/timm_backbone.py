"""Models of timm, by name: one global feature, one local feature, or both.

timm is an optional package (`aff-gallery-indexer[timm]`). The specification has the name and arguments of the model,
the bundle its weights in safetensors; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors.torch import load_model
from torch import Tensor, nn

from aff_shared.bundles.bundle import ExtractorSpec
from aff_shared.errors import MissingExtraError
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.extractors.hub_backbone import GlobalHead
from gallery_indexer.features.extractors.landmark_extractor import (
    on_device,
    pool_patches,
    shape_batches,
    strongest_patches,
)
from gallery_indexer.features.networks.layers import autocast, normalise

_MAP_AXES = 4
# Arguments of timm.create_model that read files or the network.
_LOADING = frozenset({"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"})


class TimmBackboneConfig(BaseModel):
    """The `config` of the specification.

    Attributes:
        architecture: The model's name in timm.
        arguments: Arguments of timm's function of that name, if the weights need other values than its defaults.
        input_size: Side in pixels of the inputs in training.
        fixed_input_size: Whether another size has to be set explicitly (positions, windows).
        mean: Mean that is subtracted from the pixels from 0 to 1, by channel.
        std: Standard deviation that they are divided by, by channel.
        global_head: `cls` is the class token, `mean` and `gem` pool the patches, `pooled` is the classifier's input.
        precision: `bf16` runs the model in bfloat16 on a GPU.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    input_size: int
    fixed_input_size: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    global_head: GlobalHead | None = None
    precision: Literal["fp32", "bf16"] = "fp32"

    @field_validator("arguments")
    @classmethod
    def _loads_nothing(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        if _LOADING & arguments.keys():
            raise ValueError(f"arguments may not load anything: {', '.join(sorted(_LOADING & arguments.keys()))}")
        return arguments


class TimmBackbone:
    """A frozen model of timm as an extractor; its features are unit vectors, its patches selected by norm."""

    FAMILY: ClassVar[str] = "timm_backbone"

    def __init__(self, spec: ExtractorSpec, model: nn.Module, device: torch.device) -> None:
        """Wrap a model with loaded weights and the specification's input size."""
        self.spec = spec
        self._config = TimmBackboneConfig.model_validate(spec.config)
        self._global = next((feature for feature in spec.features if feature.kind == "global"), None)
        self._local = next((feature for feature in spec.features if feature.kind == "local"), None)
        self._device = device
        self._model: Any = model.eval().to(device)

    @classmethod
    def load(cls, spec: ExtractorSpec, weights: Path, device: torch.device) -> TimmBackbone:
        """Build the model that the specification describes, and load its weights; names and shapes have to match.

        Raises:
            MissingExtraError: timm is not installed, or cannot be loaded.
        """
        config = TimmBackboneConfig.model_validate(spec.config)
        model = build_timm_model(config)
        set_input_size(model, config, spec.preprocessing.size)
        load_model(model, weights)
        return cls(spec, model, device)

    @torch.inference_mode()
    def extract(self, images: Images) -> dict[str, FeatureBatch]:
        """See Extractor.

        Raises:
            ValueError: The model has no such feature.
        """
        ((_, pixels),) = shape_batches(images, self.spec.preprocessing)  # stretched to one shape
        with autocast(self._device, self.spec.config):
            output = self._model.forward_features(
                normalise(on_device(pixels, self._device), self._config.mean, self._config.std)
            )
            pooled = self._pool(output) if self._config.global_head is not None else None
        features = {}
        if self._global is not None and pooled is not None:
            features[self._global.name] = FeatureBatch.from_global(F.normalize(pooled.float(), dim=-1))
        if self._local is not None:
            tokens, grid = self._patches(output)
            features[self._local.name] = strongest_patches(tokens, tokens.norm(dim=-1), grid, self._local.max_tokens)
        return features

    def _pool(self, output: Tensor) -> Tensor:
        head = self._config.global_head
        if head == "pooled":
            pooled: Tensor = self._model.forward_head(output, pre_logits=True)
            return pooled
        if head == "cls":
            if getattr(self._model, "cls_token", None) is None or output.ndim == _MAP_AXES:
                raise ValueError(f"{self._config.architecture} has no class token: use the head mean, gem or pooled")
            return output[:, 0]
        assert head is not None
        return pool_patches(self._patches(output)[0], head)

    def _patches(self, output: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Return patch tokens (B, N, d) float32 row by row, and rows and columns of their grid."""
        if output.ndim == _MAP_AXES:
            rows = output if getattr(self._model, "output_fmt", "NCHW") == "NHWC" else output.permute(0, 2, 3, 1)
            return rows.flatten(1, 2).float(), (rows.shape[1], rows.shape[2])
        prefix = getattr(self._model, "num_prefix_tokens", None)
        if prefix is None:  # may have a class token, or tokens in another order
            raise ValueError(f"{self._config.architecture} does not specify its patch tokens: use the head pooled only")
        tokens = output[:, prefix:].float()
        side = round(tokens.shape[1] ** 0.5)  # photographs are stretched to a square
        return tokens, (side, side)


def build_timm_model(config: TimmBackboneConfig) -> Any:
    """Build a model with random weights, without its classifier, for its training size.

    Raises:
        MissingExtraError: timm is not installed, or cannot be loaded.
        ValueError: The installed timm has no such model.
    """
    timm = import_timm(config.architecture)
    if not timm.is_model(config.architecture):  # also rejects names that timm would download
        raise ValueError(f"timm {timm.__version__} has no model {config.architecture!r}")
    size = (3, config.input_size, config.input_size)
    return timm.create_model(
        config.architecture,
        pretrained=False,
        num_classes=0,
        pretrained_cfg={"input_size": size, "fixed_input_size": config.fixed_input_size},
        **config.arguments,
    )


def set_input_size(model: Any, config: TimmBackboneConfig, size: int) -> None:
    """Set the input size of a model: positions are interpolated, windows recomputed.

    Raises:
        ValueError: The model supports its training size only, or the size is not a multiple of its patch size.
    """
    if size == config.input_size or not config.fixed_input_size:
        return
    if not hasattr(model, "set_input_size"):
        raise ValueError(f"{config.architecture} supports inputs of {config.input_size} pixels only")
    patch = getattr(getattr(model, "patch_embed", None), "patch_size", (1, 1))
    if size % patch[0]:
        nearest = max(patch[0], round(size / patch[0]) * patch[0])
        raise ValueError(f"an input of {size} pixels is not a multiple of the patch size {patch[0]}; use {nearest}")
    model.set_input_size(size)


_EXTRA = "aff-gallery-indexer[timm]"
_WHEELS = "https://download.pytorch.org/whl"


def import_timm(needed_by: str) -> Any:
    """Return the module.

    Args:
        needed_by: Name of the network, for the message.

    Raises:
        MissingExtraError: timm is not installed, or incompatible with the installed torch; has the command to fix it.
    """
    try:
        import timm  # noqa: PLC0415 - optional
    except ImportError as error:
        raise MissingExtraError(f"needs timm: pip install '{_EXTRA}'", item=needed_by) from error
    except (RuntimeError, OSError) as error:  # torchvision of another build than torch
        detail = f"timm cannot be loaded ({error}); torchvision has to match torch's build: {torchvision_command()}"
        raise MissingExtraError(detail, item=needed_by) from error
    return timm


def torchvision_command() -> str:
    """Return the command that installs a matching torchvision; a suffix such as `+cpu` names the package index."""
    build = torch.__version__.partition("+")[2]
    index = f" --index-url {_WHEELS}/{build}" if build else ""
    return f"pip uninstall -y torchvision && pip install torch=={torch.__version__} torchvision{index}"
