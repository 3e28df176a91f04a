"""Models of timm with fresh weights, in the format of timm's repositories on the hub."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from tests.support.released_checkpoints import randomise

MEAN, STD = (0.5, 0.4, 0.3), (0.3, 0.4, 0.5)
SIZE = 64


@dataclass(frozen=True)
class TimmModel:
    """A small model.

    Attributes:
        classifier: Name of its last layer.
        arguments: Arguments that make it small.
        fixed: Whether it was trained for its size alone.
    """

    classifier: str
    arguments: dict[str, Any] = field(default_factory=dict)
    fixed: bool = True

    @property
    def trained(self) -> dict[str, Any]:
        """Training settings that timm keeps."""
        return {"input_size": [3, SIZE, SIZE], "fixed_input_size": self.fixed, "classifier": self.classifier}


_TRANSFORMER = {"embed_dim": 32, "depth": 2, "num_heads": 2}
_SWIN = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 2}

TIMM_MODELS = {
    "resnet18": TimmModel("fc", {"layers": (1, 1, 1, 1), "channels": (8, 16, 24, 32)}, fixed=False),
    "mobilenetv3_small_050": TimmModel("classifier", fixed=False),
    "vit_tiny_patch16_224": TimmModel("head", _TRANSFORMER),
    "vit_medium_patch16_reg4_gap_256": TimmModel("head", _TRANSFORMER),
    "swin_tiny_patch4_window7_224": TimmModel("head.fc", _SWIN),
    "hiera_tiny_224": TimmModel("head.fc", {"embed_dim": 16, "num_heads": 1, "stages": (1, 1, 1, 1)}),
}


def timm_or_skip() -> Any:
    """Return timm, or skip the test if it is not installed."""
    try:
        import timm  # noqa: PLC0415 - optional
    except ImportError:
        pytest.skip("timm is not installed: pip install 'aff-gallery-indexer[timm]'")
    except (RuntimeError, OSError) as error:
        pytest.skip(f"timm needs a torchvision of torch's build, and the installed one cannot be loaded: {error}")
    return timm


def timm_model(name: str) -> Any:
    """Return a small model with a classifier of ten classes."""
    timm, small = timm_or_skip(), TIMM_MODELS[name]
    return randomise(timm.create_model(name, num_classes=10, pretrained_cfg=small.trained, **small.arguments)).eval()


def save_timm_model(name: str, folder: Path) -> Path:
    """Write configuration and safetensors as timm does; return the folder."""
    small = TIMM_MODELS[name]
    folder.mkdir(parents=True, exist_ok=True)
    save_file(timm_model(name).state_dict(), folder / "model.safetensors")
    config = {
        "architecture": name,
        "num_classes": 10,
        "model_args": small.arguments,
        "pretrained_cfg": {**small.trained, "mean": MEAN, "std": STD},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
