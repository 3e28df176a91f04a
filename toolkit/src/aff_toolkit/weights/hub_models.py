"""Models of the Hugging Face hub or of a folder in its format, and of timm: safetensors only."""

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
from gallery_indexer.features.extractors.timm_backbone import import_timm

_FILES = ["config.json", "preprocessor_config.json", "*.safetensors", "*.safetensors.index.json"]
# Keys of a configuration that do not describe the architecture.
_NOT_ARCHITECTURE = frozenset({"_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version"})
_LABELS = frozenset({"id2label", "label2id", "problem_type"})
TIMM_WEIGHTS = "model.safetensors"


def model_folder(source: str, revision: str | None) -> Path:
    """Return a folder with a model's configuration, normalisation and weights.

    The source is a folder, or an ID on the hub, which is read from the cache or else downloaded (unless HF_HUB_OFFLINE
    is set).

    Raises:
        ExtractorUnavailableError: The model is not available; names the command that downloads it.
    """
    if Path(source).is_dir():
        return Path(source)
    if revision is None:
        raise ExtractorUnavailableError("is not a folder, and an ID on the hub needs a revision", item=source)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=_FILES))
    except (OSError, HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        wanted = " ".join(f"--include '{pattern}'" for pattern in _FILES)
        command = f"hf download {source} --revision {revision} {wanted}"
        detail = f"is not in the cache and cannot be downloaded. With a network connection, run: {command}"
        raise ExtractorUnavailableError(detail, item=source) from error


def load_vision_model(folder: Path) -> nn.Module:
    """Load a model of a folder in float32; for CLIP and SigLIP only the vision tower.

    Raises:
        ExtractorUnavailableError: There are no safetensors, or they do not match the configuration.
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
    """Return the architecture of a loaded model: its configuration without other keys."""
    whole = json.loads(model.config.to_json_string(use_diff=False))
    return {key: value for key, value in whole.items() if key not in _NOT_ARCHITECTURE | _LABELS}


def normalisation_of(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and deviation of the pixels, from 0 to 1, of the model's image processor.

    Raises:
        ExtractorUnavailableError: The folder does not specify them.
    """
    path = folder / "preprocessor_config.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        return tuple(settings["image_mean"]), tuple(settings["image_std"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExtractorUnavailableError("does not specify the normalisation of pixels", item=str(path)) from error


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights as safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, str(path))


@dataclass(frozen=True, slots=True)
class TimmRelease:
    """A timm model on this machine.

    Attributes:
        weights: The safetensors.
        architecture: Name, arguments, input size and normalisation, as in TimmBackboneConfig.
        classifier: Names of the classifier's layers.
    """

    weights: Path
    architecture: dict[str, Any]
    classifier: tuple[str, ...]

    @classmethod
    def find(cls, source: str, revision: str | None, architecture: str | None) -> TimmRelease:
        """Find a model: a folder with `config.json` and `model.safetensors`, an ID on the hub, or a safetensors file.

        A file needs the name of its architecture in timm.

        Raises:
            ExtractorUnavailableError: The model is not available, or its configuration is not timm's.
            MissingExtraError: timm is not installed, or cannot be loaded.
        """
        if Path(source).is_file():
            return cls._of(Path(source), _built_in(source, architecture))
        folder = model_folder(source, revision)
        path = folder / "config.json"
        try:
            return cls._of(folder / TIMM_WEIGHTS, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ExtractorUnavailableError(f"is not a configuration of timm: {error!r}", item=str(path)) from error

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
            ExtractorUnavailableError: The weights cannot be read, or are of another model; lists those that do not
                match.
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
            detail = f"weights do not match {self.architecture['architecture']}: {', '.join(misfits[:8])}"
            raise ExtractorUnavailableError(detail, item=str(self.weights))
        model.load_state_dict(found)


def read_timm_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        ExtractorUnavailableError: The file is missing, or is not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ExtractorUnavailableError(f"{path.name} cannot be read: {error}", item=str(path)) from error


def _built_in(source: str, architecture: str | None) -> dict[str, Any]:
    """Return timm's configuration of a model."""
    if architecture is None:
        raise ExtractorUnavailableError("is a file: set its architecture in timm", item=source)
    timm = import_timm(architecture)
    try:
        trained = timm.get_pretrained_cfg(architecture)
    except RuntimeError as error:
        raise ExtractorUnavailableError(f"timm does not have {architecture}: {error}", item=source) from error
    if trained is None:
        raise ExtractorUnavailableError(f"timm {timm.__version__} does not have a model {architecture!r}", item=source)
    return {"architecture": architecture, "pretrained_cfg": trained.to_dict()}
