"""A symmetric retrieval's encoder: CLIP's vision tower, the same for the gallery and for every query."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

TOWERS: Mapping[str, Mapping[str, int]] = MappingProxyType(
    {
        "large": {  # openai/clip-vit-large-patch14
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
            "image_size": 224,
            "projection_dim": 768,
        },
        "tiny": {  # for tests
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "patch_size": 32,
            "image_size": 224,
            "projection_dim": 16,
        },
    }
)


class ClipTower:
    """Embeds photographs; its weights are random, since what it costs does not depend on them.

    Args:
        name: Of TOWERS.
    """

    def __init__(self, name: str) -> None:
        config = CLIPVisionConfig.from_dict(dict(TOWERS[name]))
        torch.manual_seed(0)
        self.dimension = int(config.projection_dim)
        self._model: nn.Module = CLIPVisionModelWithProjection(config)
        self._model.train(mode=False)
        self._processor = CLIPImageProcessorPil()

    @torch.inference_mode()
    def embed(self, file: bytes) -> NDArray[np.float32]:
        """Return the embedding of an image file: (D,), unit length."""
        photograph = Image.open(io.BytesIO(file)).convert("RGB")
        inputs = self._processor(images=photograph, return_tensors="pt")
        (embedding,) = self._model(**inputs).image_embeds
        unit: NDArray[np.float32] = (embedding / embedding.norm()).numpy()
        return unit
