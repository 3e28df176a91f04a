"""A model of timm as it was released: what its folder or the hub's repository says of it, and its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.weights.hub_models import model_folder
from gallery_indexer.features.networks.timm_package import import_timm

TIMM_WEIGHTS = "model.safetensors"


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
