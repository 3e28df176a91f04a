from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from pydantic import ValidationError
from torch import Tensor

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.errors import BundleFormatError, MissingExtraError
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.errors import ExtractorUnavailableError
from aff_toolkit.models.backbone_choice import Installation, TimmChoice
from gallery_indexer.features.extractors.load_extractor import load_extractor
from gallery_indexer.features.extractors.timm_backbone import TimmBackboneConfig, import_timm
from tests.support.timm_models import MEAN, SIZE, STD, save_timm_model, timm_model, timm_or_skip

CPU = torch.device("cpu")
IMAGES = [np.random.default_rng(n).integers(0, 256, (50 + n, 70, 3), dtype=np.uint8) for n in range(2)]
# Tokens before the patches; None of maps.
KINDS: dict[str, int | None] = {
    "resnet18": None,
    "mobilenetv3_small_050": None,
    "vit_tiny_patch16_224": 1,
    "vit_medium_patch16_reg4_gap_256": 4,
    "swin_tiny_patch4_window7_224": None,
}


def installed(source: Path, directory: Path, **choice: Any) -> ExtractorSpec:
    return TimmChoice.model_validate(
        {"kind": "timm", "name": "timm", "model": str(source), "size": SIZE, **choice}
    ).install(Installation(directory, "a recipe", 1, list))


def features_of(name: str, directory: Path, **choice: Any) -> Any:
    spec = installed(save_timm_model(name, directory / "released"), directory, **choice)
    return load_extractor(spec, directory, CPU).extract(IMAGES)


def pixels(size: int = SIZE) -> Tensor:
    """Return the input of a model, by Pillow and hand arithmetic."""
    squares = [np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)) for image in IMAGES]
    shares = torch.tensor(np.stack(squares)).permute(0, 3, 1, 2).double() / 255
    return ((shares - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)).float()


def patches_of(name: str, output: Tensor) -> Tensor:
    prefix = KINDS[name]
    if prefix is not None:
        return output[:, prefix:]
    return output.flatten(1, 2) if name.startswith("swin") else output.flatten(2).transpose(1, 2)


@pytest.mark.parametrize("name", KINDS)
@torch.no_grad()
def test_every_form_of_output_yields_the_mean_and_the_strongest_patches_of_plain_timm(
    name: str, tmp_path: Path
) -> None:
    features = features_of(name, tmp_path, global_head="mean", local_tokens=3)
    patches = patches_of(name, timm_model(name).forward_features(pixels()))
    expected = F.normalize(patches.mean(dim=1), dim=-1)
    torch.testing.assert_close(features["timm_mean"].values[:, 0], expected, rtol=1e-5, atol=1e-5)
    found, side = features["timm_patches"], round(patches.shape[1] ** 0.5)
    for row in range(len(IMAGES)):
        order = sorted(range(patches.shape[1]), key=lambda place: -float(patches[row, place].norm()))[:3]
        assert int(found.mask[row].sum()) == len(order)
        strongest = torch.stack([F.normalize(patches[row, place], dim=-1) for place in order])
        torch.testing.assert_close(found.values[row, : len(order)], strongest, rtol=1e-5, atol=1e-5)
        centres = torch.tensor([[(place % side + 0.5) / side, (place // side + 0.5) / side] for place in order])
        torch.testing.assert_close(found.positions[row, : len(order)], centres, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [*KINDS, "hiera_tiny_224"])
@torch.no_grad()
def test_the_models_own_head_is_the_classifiers_input(name: str, tmp_path: Path) -> None:
    values = features_of(name, tmp_path, global_head="pooled")["timm_pooled"].values[:, 0]
    model = timm_model(name)
    expected = F.normalize(model.forward_head(model.forward_features(pixels()), pre_logits=True), dim=-1)
    torch.testing.assert_close(values, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_the_class_token_is_the_first(tmp_path: Path) -> None:
    values = features_of("vit_tiny_patch16_224", tmp_path)["timm_cls"].values[:, 0]
    output = timm_model("vit_tiny_patch16_224").forward_features(pixels())
    torch.testing.assert_close(values, F.normalize(output[:, 0], dim=-1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_generalised_mean_pooling_is_the_cube_root_of_the_mean_cube(tmp_path: Path) -> None:
    values = features_of("resnet18", tmp_path, global_head="gem")["timm_gem"].values[:, 0]
    cells = timm_model("resnet18").forward_features(pixels()).flatten(2).double()
    pooled = torch.stack([(torch.clamp(one, min=1e-6) ** 3).mean(dim=1) ** (1 / 3) for one in cells])
    torch.testing.assert_close(values, F.normalize(pooled, dim=-1).float(), rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning:timm")
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
@torch.no_grad()
def test_a_model_trained_at_one_size_can_use_another(name: str, tmp_path: Path) -> None:
    values = features_of(name, tmp_path, size=128, global_head="mean")["timm_mean"].values[:, 0]
    model = timm_model(name)
    model.set_input_size(128)
    patches = patches_of(name, model.forward_features(pixels(128)))
    torch.testing.assert_close(values, F.normalize(patches.mean(dim=1), dim=-1), rtol=1e-5, atol=1e-5)


def test_weights_can_be_a_file_if_the_architecture_is_named(tmp_path: Path) -> None:
    timm = timm_or_skip()
    folder = save_timm_model("mobilenetv3_small_050", tmp_path / "released")
    spec = installed(
        folder / "model.safetensors", tmp_path, architecture="mobilenetv3_small_050.lamb_in1k", global_head="mean"
    )
    assert spec.config["mean"] == pytest.approx(timm.get_pretrained_cfg("mobilenetv3_small_050").mean)
    with pytest.raises(ExtractorUnavailableError, match="set its architecture"):
        installed(folder / "model.safetensors", tmp_path)
    with pytest.raises(ExtractorUnavailableError, match="no_such_model"):
        installed(folder / "model.safetensors", tmp_path, architecture="no_such_model")


@pytest.mark.parametrize(
    ("name", "choice", "reported"),
    [
        ("resnet18", {"global_head": "cls"}, "has no class token"),
        ("vit_medium_patch16_reg4_gap_256", {"global_head": "cls"}, "has no class token"),
        ("hiera_tiny_224", {"global_head": "mean"}, "does not specify its patch tokens"),
        ("hiera_tiny_224", {"global_head": "pooled", "size": 128}, "supports inputs of 64 pixels only"),
        ("vit_tiny_patch16_224", {"size": 70}, "an input of 70 pixels is not a multiple of the patch size 16; use 64"),
    ],
)
def test_an_unsupported_configuration_is_rejected_with_the_reason(
    name: str, choice: dict[str, Any], reported: str, tmp_path: Path
) -> None:
    with pytest.raises(ExtractorUnavailableError, match=reported):
        features_of(name, tmp_path, **choice)


def test_weights_of_another_model_are_rejected(tmp_path: Path) -> None:
    small, other = (save_timm_model(name, tmp_path / name) for name in ("resnet18", "mobilenetv3_small_050"))
    (small / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(ExtractorUnavailableError, match=r"weights do not match resnet18: .*blocks"):
        installed(small, tmp_path)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json"])
def test_a_folder_without_safetensors_or_configuration_is_rejected(tmp_path: Path, missing: str) -> None:
    folder = save_timm_model("resnet18", tmp_path / "released")
    (folder / missing).unlink()
    with pytest.raises(ExtractorUnavailableError, match=missing.replace(".", r"\.")):
        installed(folder, tmp_path)


def written_spec(**config: Any) -> ExtractorSpec:
    whole = {
        "architecture": "resnet18",
        "input_size": 64,
        "fixed_input_size": False,
        "mean": MEAN,
        "std": STD,
        **config,
    }
    return ExtractorSpec(
        name="timm",
        family="timm_backbone",
        preprocessing=Preprocessing(resize="stretch", size=SIZE),
        features=(FeatureSpec(name="timm_mean", kind="global", dimension=512, max_tokens=1),),
        weights="extractors/timm.safetensors",
        weights_source="a test",
        config={**whole, "global_head": "mean"},
    )


def test_no_specification_makes_timm_download(tmp_path: Path) -> None:
    timm_or_skip()
    with pytest.raises(BundleFormatError, match="has no model 'hf-hub:someone/model'"):
        load_extractor(written_spec(architecture="hf-hub:someone/model"), tmp_path, CPU)


def test_no_specification_makes_timm_read_other_files() -> None:
    with pytest.raises(ValidationError, match="arguments may not load anything: checkpoint_path"):
        TimmBackboneConfig.model_validate(written_spec(arguments={"checkpoint_path": "weights.pth"}).config)


def test_a_service_without_timm_reports_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"resnet18: needs timm: pip install 'aff-gallery-indexer\[timm\]'"):
        load_extractor(written_spec(), tmp_path, CPU)


def test_a_recipe_without_timm_reports_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    trained = {"input_size": [3, SIZE, SIZE], "mean": MEAN, "std": STD}
    config = {"architecture": "resnet18", "pretrained_cfg": trained}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(MissingExtraError, match=r"pip install 'aff-gallery-indexer\[timm\]'"):
        installed(tmp_path, tmp_path, global_head="mean")


def broken_timm(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a timm that fails as with a torchvision of another build."""
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    (directory / "timm.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')", "utf-8")
    monkeypatch.syspath_prepend(directory)


def test_the_error_without_timm_has_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError) as caught:
        import_timm("some model")
    assert str(caught.value) == "some model: needs timm: pip install 'aff-gallery-indexer[timm]'"


@pytest.mark.parametrize(
    ("installed", "command"),
    [
        ("2.13.0+cpu", "torch==2.13.0+cpu torchvision --index-url https://download.pytorch.org/whl/cpu"),
        ("2.13.0", "torch==2.13.0 torchvision"),
    ],
)
def test_the_error_of_a_mismatched_torchvision_has_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: str, command: str
) -> None:
    broken_timm(tmp_path, monkeypatch)
    monkeypatch.setattr(torch, "__version__", installed)
    with pytest.raises(MissingExtraError) as caught:
        import_timm("some model")
    assert "operator torchvision::nms does not exist" in caught.value.detail
    assert caught.value.detail.endswith(f"pip uninstall -y torchvision && pip install {command}")
