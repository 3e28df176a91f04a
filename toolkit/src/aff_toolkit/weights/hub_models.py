"""Models of the Hugging Face hub, or of a folder in its format, made ready for a bundle: safetensors only."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError
from gallery_indexer.features.networks.timm_package import import_timm

_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
# What says where a configuration comes from, or what a model prints, and nothing about its architecture.
_NOT_ARCHITECTURE = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})
_LABELS = frozenset({"id2label", "label2id", "problem_type"})
TIMM_WEIGHTS = "model.safetensors"


def model_folder(source: str, revision: str | None) -> Path:
    """Return a folder with a model's configuration, normalisation and weights.

    Args:
        source: A folder, or an id of the hub, which is looked up in the cache first and downloaded where it is missing
            (not at all where HF_HUB_OFFLINE is set).
        revision: Commit of the hub's repository; a folder has none.

    Raises:
        ExtractorUnavailableError: It is neither here nor can be had; names the command that brings it.
    """
    if Path(source).is_dir():
        return Path(source)
    if revision is None:
        raise ExtractorUnavailableError("is no folder, and an id of the hub needs a revision", item=source)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=_FILES))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        command = download_command(source, revision)
        detail = f"is not in the cache and cannot be downloaded. Where there is a network: {command}"
        raise ExtractorUnavailableError(detail, item=source) from error


def download_command(source: str, revision: str) -> str:
    """Return what brings a model of the hub into the cache."""
    wanted = " ".join(f"--include '{pattern}'" for pattern in _FILES)
    return f"hf download {source} --revision {revision} {wanted}"


def load_vision_model(folder: Path) -> nn.Module:
    """Load a model of a folder in float32; of CLIP and SigLIP the vision tower alone.

    Raises:
        ExtractorUnavailableError: There are no safetensors, or they do not fit the configuration.
    """
    from transformers import AutoConfig, AutoModel, CLIPVisionModel, SiglipVisionModel  # noqa: PLC0415 - takes seconds

    towers: dict[str, Any] = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}
    try:
        model_class = towers.get(AutoConfig.from_pretrained(folder).model_type, AutoModel)
        model, report = model_class.from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise ExtractorUnavailableError(f"cannot be loaded: {error}", item=str(folder)) from error
    missing = sorted([*report["missing_keys"], *(str(key) for key in report["mismatched_keys"])])
    if missing:
        raise ExtractorUnavailableError(f"lacks weights: {', '.join(missing[:8])}", item=str(folder))
    loaded: nn.Module = model
    return loaded


def architecture_of(model: Any) -> dict[str, Any]:
    """Return the configuration of a loaded model, without what says nothing about its architecture."""
    whole = json.loads(model.config.to_json_string(use_diff=False))
    return {key: value for key, value in whole.items() if key not in _NOT_ARCHITECTURE | _LABELS}


def normalisation_of(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the pixels from 0 to 1, as the model's image processor has them.

    Raises:
        ExtractorUnavailableError: The folder does not say.
    """
    path = folder / "preprocessor_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return tuple(settings["image_mean"]), tuple(settings["image_std"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExtractorUnavailableError("does not say how pixels are normalised", item=str(path)) from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights where a bundle keeps them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(path))


@dataclass(frozen=True, slots=True)
class TimmRelease:
    """A model that lies on this machine.

    Attributes:
        weights: The safetensors.
        architecture: Name, arguments, input size and normalisation, as TimmBackboneConfig has them.
        classifier: Names of the layers that it has for its classes alone.
    """

    weights: Path
    architecture: dict[str, Any]
    classifier: tuple[str, ...]

    @classmethod
    def find(cls, source: str, revision: str | None, architecture: str | None) -> TimmRelease:
        """Find a model.

        Args:
            source: A folder with `config.json` and `model.safetensors`, an id of the hub, or a safetensors file.
            revision: Commit of the hub's repository.
            architecture: Name in timm, of a file.

        Raises:
            ExtractorUnavailableError: It is neither here nor can be had, or its configuration is not timm's.
            MissingExtraError: timm is not installed, or cannot be loaded.
        """
        if Path(source).is_file():
            return cls._of(Path(source), _built_in(source, architecture))
        folder = model_folder(source, revision)
        path = folder / "config.json"
        try:
            return cls._of(folder / TIMM_WEIGHTS, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExtractorUnavailableError(f"is no configuration of timm: {error!r}", item=str(path)) from error

    @classmethod
    def _of(cls, weights: Path, config: dict[str, Any]) -> TimmRelease:
        trained = config["pretrained_cfg"]
        classifier = trained.get("classifier") or ()
        architecture = {
            "architecture": config["architecture"],
            "arguments": config.get("model_args") or {},
            "input_size": trained["input_size"][-1],
            "fixed_input_size": trained.get("fixed_input_size", False),
            "mean": trained["mean"],
            "std": trained["std"],
        }
        return cls(weights, architecture, (classifier,) if isinstance(classifier, str) else tuple(classifier))

    def load_weights(self, model: nn.Module) -> None:
        """Load the weights into a model without classifier.

        Raises:
            ExtractorUnavailableError: They cannot be read, or are another model's; lists those that do not fit.
        """
        found = read_timm_weights(self.weights)
        layers = tuple(f"{name}." for name in self.classifier)
        found = {name: tensor for name, tensor in found.items() if not name.startswith(layers)}
        wanted = model.state_dict()
        misfits = sorted(
            name
            for name in found.keys() | wanted.keys()
            if name not in found or name not in wanted or found[name].shape != wanted[name].shape
        )
        if misfits:
            detail = f"weights do not fit {self.architecture['architecture']}: {', '.join(misfits[:8])}"
            raise ExtractorUnavailableError(detail, item=str(self.weights))
        model.load_state_dict(found)


def read_timm_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ExtractorUnavailableError: It is missing, or is none.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExtractorUnavailableError(f"{path.name} cannot be read: {error}", item=str(path)) from error


def _built_in(source: str, architecture: str | None) -> dict[str, Any]:
    """Return what timm itself says of a model."""
    if architecture is None:
        raise ExtractorUnavailableError("is a file: name its architecture in timm", item=source)
    timm = import_timm(architecture)
    try:
        trained = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        raise ExtractorUnavailableError(f"timm knows no {architecture}: {error}", item=source) from error
    if trained is None:
        raise ExtractorUnavailableError(f"timm {timm.__version__} knows no model {architecture!r}", item=source)
    return {"architecture": architecture, "pretrained_cfg": trained.to_dict()}
