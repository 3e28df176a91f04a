"""Models of the hub against plain calls of transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.backbone_choice import HubChoice, Installation
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.extractors.load_extractor import load_extractor
from tests.support.hub_models import HUB_MODELS, MEAN, STD, save_hub_model

CPU = torch.device("cpu")
WITH_CLASS_ATTENTION = ("dinov2", "dinov2_with_registers", "dinov3_vit", "clip")
IMAGES = [np.random.default_rng(n).integers(0, 256, (50 + n, 70, 3), dtype=np.uint8) for n in range(2)]


@pytest.fixture(params=HUB_MODELS)
def model_type(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def installed(folder: Path, directory: Path, **choice: Any) -> ExtractorSpec:
    size = choice.pop("size", 56)
    return HubChoice.model_validate(
        {"kind": "hub", "name": "hub", "model": str(folder), "size": size, **choice}
    ).install(Installation(directory, "a recipe", 1, list))


def normalised(images: list[NDArray[np.uint8]], size: int) -> Tensor:
    """Return the input of a model, by Pillow and hand arithmetic."""
    squares = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) for image in images]
    pixels = torch.tensor(np.stack(squares)).permute(0, 3, 1, 2).double() / 255
    return ((pixels - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)).float()


def plain(model_type: str, folder: Path, size: int, *, attentions: bool = False) -> Any:
    """Return the output of plain transformers; None for an output that the model does not have."""
    from transformers import AutoModel, CLIPVisionModel, SiglipVisionModel  # noqa: PLC0415 - takes seconds

    towers: dict[str, Any] = {"clip": CLIPVisionModel, "siglip": SiglipVisionModel}
    options = {"attn_implementation": "eager"} if attentions else {}
    model = towers.get(model_type, AutoModel).from_pretrained(folder, **options).eval()
    more: dict[str, bool] = {"interpolate_pos_encoding": True} if model_type in towers else {}
    if attentions:
        more["output_attentions"] = True
    with torch.no_grad():
        return model(pixel_values=normalised(IMAGES, size), **more)


def patches_of(model_type: str, hidden: Tensor) -> Tensor:
    prefix = {"dinov2": 1, "dinov2_with_registers": 3, "dinov3_vit": 5, "dinov3_convnext": 1, "clip": 1}
    if hidden.ndim == 4:
        return hidden.flatten(2).transpose(1, 2)
    return hidden[:, prefix.get(model_type, 0) :]


def test_every_kind_returns_the_mean_and_the_strongest_patches_of_plain_transformers(
    model_type: str, tmp_path: Path
) -> None:
    folder = save_hub_model(model_type, tmp_path / "hub")
    size = HUB_MODELS[model_type].size
    spec = installed(folder, tmp_path, size=size, global_head="mean", local_tokens=3)
    features = load_extractor(spec, tmp_path, CPU).extract(IMAGES)
    patches = patches_of(model_type, plain(model_type, folder, size).last_hidden_state)
    torch.testing.assert_close(
        features["hub_mean"].values[:, 0], F.normalize(patches.mean(dim=1), dim=-1), rtol=1e-5, atol=1e-5
    )
    found = features["hub_patches"]
    for row in range(len(IMAGES)):
        order = sorted(range(patches.shape[1]), key=lambda place: -float(patches[row, place].norm()))[:3]
        kept = found.mask[row].sum()
        assert int(kept) == len(order)
        expected = torch.stack([F.normalize(patches[row, place], dim=-1) for place in order])
        torch.testing.assert_close(found.values[row, : len(order)], expected, rtol=1e-5, atol=1e-5)


def test_the_models_own_head_is_the_pooler(model_type: str, tmp_path: Path) -> None:
    folder = save_hub_model(model_type, tmp_path / "hub")
    size = HUB_MODELS[model_type].size
    spec = installed(folder, tmp_path, size=size, global_head="pooled")
    values = load_extractor(spec, tmp_path, CPU).extract(IMAGES)["hub_pooled"].values
    expected = F.normalize(plain(model_type, folder, size).pooler_output.flatten(1), dim=-1)
    torch.testing.assert_close(values[:, 0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("model_type", WITH_CLASS_ATTENTION)
def test_patches_are_selected_by_the_class_tokens_attention(model_type: str, tmp_path: Path) -> None:
    folder = save_hub_model(model_type, tmp_path / "hub")
    spec = installed(folder, tmp_path, global_head="cls", local_tokens=4, local_by="attention")
    features = load_extractor(spec, tmp_path, CPU).extract(IMAGES)
    output = plain(model_type, folder, 56, attentions=True)
    patches = patches_of(model_type, output.last_hidden_state)
    prefix = output.last_hidden_state.shape[1] - patches.shape[1]
    torch.testing.assert_close(
        features["hub_cls"].values[:, 0], F.normalize(output.last_hidden_state[:, 0], dim=-1), rtol=1e-5, atol=1e-5
    )
    attention = output.attentions[-1]
    heads = range(attention.shape[1])
    side = round(patches.shape[1] ** 0.5)
    for row in range(len(IMAGES)):
        each = [
            sum(float(attention[row, head, 0, prefix + place]) for head in heads) / len(heads)
            for place in range(patches.shape[1])
        ]
        order = sorted(range(len(each)), key=lambda place: -each[place])[:4]
        strengths, positions = found_of(features["hub_patches"], row)
        torch.testing.assert_close(strengths, torch.tensor([each[place] for place in order]), rtol=1e-4, atol=1e-6)
        centres = [[(place % side + 0.5) / side, (place // side + 0.5) / side] for place in order]
        torch.testing.assert_close(positions, torch.tensor(centres), rtol=1e-5, atol=1e-6)


def found_of(batch: FeatureBatch, row: int) -> tuple[Tensor, Tensor]:
    assert batch.strengths is not None
    assert batch.positions is not None
    return batch.strengths[row], batch.positions[row]


def test_generalised_mean_pooling_is_the_cube_root_of_the_mean_cube(tmp_path: Path) -> None:
    folder = save_hub_model("resnet", tmp_path / "hub")
    spec = installed(folder, tmp_path, size=64, global_head="gem")
    values = load_extractor(spec, tmp_path, CPU).extract(IMAGES)["hub_gem"].values[:, 0]
    cells = plain("resnet", folder, 64).last_hidden_state.flatten(2).double()
    pooled = torch.stack([(torch.clamp(one, min=1e-6) ** 3).mean(dim=1) ** (1 / 3) for one in cells])
    torch.testing.assert_close(values, F.normalize(pooled, dim=-1).float(), rtol=1e-5, atol=1e-5)


def test_a_photograph_with_fewer_patches_than_tokens_has_masked_tokens(tmp_path: Path) -> None:
    folder = save_hub_model("resnet", tmp_path / "hub")
    spec = installed(folder, tmp_path, size=64, global_head=None, local_tokens=6)
    batch = load_extractor(spec, tmp_path, CPU).extract(IMAGES)["hub_patches"]
    assert batch.mask.tolist() == [[True] * 4 + [False] * 2] * 2
    assert not batch.values[:, 4:].any()


@pytest.mark.parametrize(
    ("choice", "reported"),
    [
        ({"size": 60}, "an input of 60 pixels is not a multiple of the patch size 7; use 63"),
        (
            {"global_head": None, "local_tokens": 2, "local_by": "attention", "model": "siglip"},
            "select patches by norm",
        ),
        ({"global_head": "cls", "model": "resnet", "size": 64}, "has no class token"),
    ],
)
def test_an_unsupported_configuration_is_rejected_with_the_reason(
    tmp_path: Path, choice: dict[str, Any], reported: str
) -> None:
    folder = save_hub_model(choice.pop("model", "dinov2"), tmp_path / "hub")
    with pytest.raises(ExtractorUnavailableError, match=reported):
        installed(folder, tmp_path, **choice)


@pytest.mark.parametrize(
    ("missing", "reported"),
    [("model.safetensors", "cannot be loaded"), ("preprocessor_config.json", "normalisation of pixels")],
)
def test_a_folder_without_safetensors_or_normalisation_is_rejected(tmp_path: Path, missing: str, reported: str) -> None:
    folder = save_hub_model("dinov2", tmp_path / "hub")
    (folder / missing).unlink()
    with pytest.raises(ExtractorUnavailableError, match=reported):
        installed(folder, tmp_path)


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    small, large = (save_hub_model("dinov2", tmp_path / name, layers=layers) for name, layers in (("s", 1), ("l", 2)))
    (large / "model.safetensors").write_bytes((small / "model.safetensors").read_bytes())
    with pytest.raises(ExtractorUnavailableError, match=r"lacks weights: .*layer"):
        installed(large, tmp_path)


def test_an_id_of_the_hub_needs_all_digits_of_a_revision() -> None:
    with pytest.raises(ValidationError, match="revision"):
        HubChoice.model_validate(
            {"kind": "hub", "name": "a", "model": "facebook/dinov2-small", "revision": "main", "size": 224}
        )


@pytest.mark.slow
def test_a_cached_model_suffices_and_the_error_of_a_missing_one_has_the_command(tmp_path: Path) -> None:
    """Run in a separate process, since the hub's library reads its settings at import."""
    revision = "0123456789abcdef0123456789abcdef01234567"
    snapshot = tmp_path / "cache/models--someone--tiny/snapshots" / revision
    save_hub_model("dinov2", snapshot)
    program = (
        "import sys\n"
        "from aff_toolkit.weights.hub_models import model_folder\n"
        "from aff_shared.errors import AffError\n"
        f"print(model_folder('someone/tiny', '{revision}'))\n"
        "try:\n"
        f"    model_folder('someone/else', '{revision}')\n"
        "except AffError as error:\n"
        "    print(error)\n"
    )
    environment = {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    found, reported = done.stdout.splitlines()
    assert found == str(snapshot)
    assert f"hf download someone/else --revision {revision}" in reported


@pytest.mark.slow
def test_the_service_does_not_load_transformers_before_an_extractor_needs_it() -> None:
    program = "import sys, gallery_indexer.app; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=120).returncode == 0
