"""A mixer with an anchor starts at the light network's embedding and adds to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from aff_shared.bundles.bundle import FeatureSpec, MixerKind, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer, build_mixer

LIGHT = FeatureSpec(name="light", kind="global", dimension=6, max_tokens=1)
PARTS = FeatureSpec(name="parts", kind="local", dimension=5, max_tokens=4)
D = 4
KINDS: tuple[MixerKind, ...] = ("transformer", "mlp", "laff", "orthogonal")


def anchored(kind: MixerKind = "transformer") -> AnchoredMixer:
    torch.manual_seed(3)
    spec = MixerSpec(weights="m.safetensors", kind=kind, heads=2, anchor="light")
    mixer = build_mixer((LIGHT, PARTS), spec, D)
    assert isinstance(mixer, AnchoredMixer)
    mixer.set_anchor(torch.randn(D, 6), torch.randn(D))
    return mixer.eval()


def batch() -> dict[str, FeatureBatch]:
    source = torch.Generator().manual_seed(5)
    parts = torch.randn(3, 4, 5, generator=source)
    return {
        "light": FeatureBatch.from_global(torch.randn(3, 6, generator=source)),
        "parts": FeatureBatch(parts, torch.ones(3, 4, dtype=torch.bool)),
    }


def light_embedding(mixer: AnchoredMixer, feature: Tensor) -> Tensor:
    rows = []
    for vector in feature:
        mapped = mixer.anchor_weight @ vector + mixer.anchor_bias
        rows.append(mapped / mapped.norm())
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_before_training_the_embedding_is_the_light_networks(kind: MixerKind) -> None:
    mixer, features = anchored(kind), batch()
    torch.testing.assert_close(mixer(features), light_embedding(mixer, features["light"].values[:, 0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_features_have_an_effect_after_training(kind: MixerKind) -> None:
    mixer, features = anchored(kind), batch()
    torch.nn.init.eye_(mixer.addition.weight)
    added = light_embedding(mixer, features["light"].values[:, 0]) + mixer.mixer(features)
    torch.testing.assert_close(mixer(features), added / added.norm(dim=1, keepdim=True))


def test_training_reaches_the_addition_and_never_the_anchor() -> None:
    mixer = anchored()
    names = {name for name, _ in mixer.named_parameters()}
    assert "addition.weight" in names
    assert not any(name.startswith("anchor") for name in names)
    mixer(batch()).sum().backward()
    assert mixer.addition.weight.grad is not None


def test_the_anchor_is_saved_with_the_weights(tmp_path: Path) -> None:
    mixer, features = anchored(), batch()
    save_model(mixer, str(tmp_path / "m.safetensors"))
    spec = MixerSpec(weights="m.safetensors", heads=2, anchor="light")
    fresh = build_mixer((LIGHT, PARTS), spec, D).eval()
    load_model(fresh, tmp_path / "m.safetensors")
    torch.testing.assert_close(fresh(features), mixer(features))


def test_an_image_without_the_anchor_still_has_a_finite_embedding() -> None:
    mixer, features = anchored(), batch()
    features["light"] = FeatureBatch.from_global(torch.zeros(3, 6))
    torch.nn.init.eye_(mixer.addition.weight)
    torch.testing.assert_close(mixer(features).norm(dim=1), torch.ones(3))


def test_an_embedding_wider_than_its_anchor_is_rejected() -> None:
    with pytest.raises(ValueError, match="too narrow"):
        build_mixer((LIGHT, PARTS), MixerSpec(weights="m.safetensors", heads=2, anchor="light"), 8)


@pytest.mark.parametrize("name", ["parts", "nothing"])
def test_an_anchor_that_is_not_a_global_feature_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_mixer((LIGHT, PARTS), MixerSpec(weights="m.safetensors", heads=2, anchor=name), D)


def test_a_specification_without_an_anchor_keeps_its_identity() -> None:
    assert "anchor" not in MixerSpec(weights="m.safetensors").identity()
    assert MixerSpec(weights="m.safetensors", anchor="light").identity()["anchor"] == "light"
