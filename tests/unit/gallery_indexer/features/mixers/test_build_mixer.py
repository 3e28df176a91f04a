from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from aff_shared.bundles.bundle import FeatureSpec, MixerKind, MixerSpec, load_manifest
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.build_mixer import AnchoredMixer, build_mixer
from tests.support.tiny_bundle import TINY_BUNDLE

WHOLE = FeatureSpec(name="whole", kind="global", dimension=6, max_tokens=1)
OTHER = FeatureSpec(name="other", kind="global", dimension=8, max_tokens=1)
PARTS = FeatureSpec(name="parts", kind="local", dimension=5, max_tokens=4)
KINDS: tuple[MixerKind, ...] = tuple(kind for kind in get_args(MixerKind) if kind != "identity")
D = 8


def mixer(kind: str, *features: FeatureSpec) -> nn.Module:
    torch.manual_seed(7)
    return build_mixer(features, MixerSpec(weights="m.safetensors", kind=kind), D).eval()


def batch(tokens: int = 4, present: tuple[int, ...] = (4, 2, 0)) -> dict[str, FeatureBatch]:
    source = torch.Generator().manual_seed(5)
    rows = len(present)
    mask = torch.arange(tokens)[None] < torch.tensor(present)[:, None]
    values = torch.randn(rows, tokens, 5, generator=source) * mask[..., None]
    return {
        "whole": FeatureBatch.from_global(torch.randn(rows, 6, generator=source)),
        "other": FeatureBatch.from_global(torch.randn(rows, 8, generator=source)),
        "parts": FeatureBatch(values, mask),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings_have_unit_length_even_without_a_local_token(kind: str) -> None:
    found = mixer(kind, WHOLE, OTHER, PARTS)(batch())
    assert found.shape == (3, D)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_masked_tokens_never_change_the_embedding(kind: str) -> None:
    network, features = mixer(kind, WHOLE, PARTS), batch()
    parts = features["parts"]
    padding = torch.full((3, 3, 5), 9.0)
    padded = FeatureBatch(
        torch.cat([parts.values, padding], dim=1), torch.cat([parts.mask, torch.zeros(3, 3, dtype=torch.bool)], dim=1)
    )
    torch.testing.assert_close(network(features), network({**features, "parts": padded}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_local_tokens_does_not_matter(kind: str) -> None:
    network, features = mixer(kind, WHOLE, PARTS), batch()
    parts = features["parts"]
    turned = FeatureBatch(parts.values.flip(1), parts.mask.flip(1))
    torch.testing.assert_close(network(features), network({**features, "parts": turned}), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_feature_has_an_effect(kind: str) -> None:
    network, features = mixer(kind, WHOLE, OTHER, PARTS), batch(present=(4, 4, 4))
    for name in ("whole", "other", "parts"):
        changed = {**features, name: FeatureBatch(-features[name].values, features[name].mask)}
        assert not torch.allclose(network(features), network(changed), atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("features", [(WHOLE,), (PARTS,)], ids=["global", "local"])
def test_one_feature_alone_is_enough(kind: str, features: tuple[FeatureSpec, ...]) -> None:
    found = mixer(kind, *features)(batch(present=(4, 2, 1)))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind: str) -> None:
    network = mixer(kind, WHOLE, OTHER, PARTS).train()
    target = torch.randn(3, D, generator=torch.Generator().manual_seed(1))
    (network(batch(present=(4, 3, 2))) * target).sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("kind", KINDS)
def test_weights_survive_a_file(kind: str, tmp_path: Path) -> None:
    network = mixer(kind, WHOLE, PARTS)
    save_model(network, str(tmp_path / "m.safetensors"))
    torch.manual_seed(99)
    other = build_mixer((WHOLE, PARTS), MixerSpec(weights="m.safetensors", kind=kind), D).eval()
    load_model(other, tmp_path / "m.safetensors")
    torch.testing.assert_close(other(batch()), network(batch()))


def test_identity_returns_the_feature_at_unit_length() -> None:
    features = batch()
    found = mixer("identity", OTHER)(features)
    values = features["other"].values[:, 0]
    for row in range(3):
        torch.testing.assert_close(found[row], values[row] / values[row].square().sum().sqrt())


@pytest.mark.parametrize("features", [(WHOLE,), (PARTS,), (OTHER, WHOLE)], ids=["width", "local", "two"])
def test_identity_rejects_other_features(features: tuple[FeatureSpec, ...]) -> None:
    with pytest.raises(ValueError, match="one global feature of width 8"):
        mixer("identity", *features)


@pytest.mark.parametrize("kind", ["transformer", "laff"])
def test_heads_that_do_not_divide_the_width_are_rejected(kind: str) -> None:
    with pytest.raises(ValueError, match="3 heads"):
        build_mixer((WHOLE,), MixerSpec(weights="m.safetensors", kind=kind, heads=3), D)


def test_the_identity_without_a_weight_survives_a_file(tmp_path: Path) -> None:
    network = mixer("identity", OTHER)
    save_model(network, str(tmp_path / "m.safetensors"))
    assert load_model(mixer("identity", OTHER), tmp_path / "m.safetensors") == (set(), [])


def test_the_mixer_of_a_bundle_on_disk_still_loads() -> None:
    manifest = load_manifest(TINY_BUNDLE)
    network = build_mixer(manifest.features, manifest.mixer, manifest.space.dimension)
    missing, unexpected = load_model(network, TINY_BUNDLE / manifest.mixer.weights)
    assert not missing
    assert not unexpected


LIGHT = FeatureSpec(name="light", kind="global", dimension=6, max_tokens=1)
ANCHORED_D = 4


def anchored(kind: MixerKind = "transformer") -> AnchoredMixer:
    torch.manual_seed(3)
    spec = MixerSpec(weights="m.safetensors", kind=kind, heads=2, anchor="light")
    mixer = build_mixer((LIGHT, PARTS), spec, ANCHORED_D)
    assert isinstance(mixer, AnchoredMixer)
    mixer.set_anchor(torch.randn(ANCHORED_D, 6), torch.randn(ANCHORED_D))
    return mixer.eval()


def anchored_batch() -> dict[str, FeatureBatch]:
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
    mixer, features = anchored(kind), anchored_batch()
    torch.testing.assert_close(mixer(features), light_embedding(mixer, features["light"].values[:, 0]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_features_have_an_effect_after_training(kind: MixerKind) -> None:
    mixer, features = anchored(kind), anchored_batch()
    torch.nn.init.eye_(mixer.addition.weight)
    added = light_embedding(mixer, features["light"].values[:, 0]) + mixer.mixer(features)
    torch.testing.assert_close(mixer(features), added / added.norm(dim=1, keepdim=True))


def test_training_reaches_the_addition_and_never_the_anchor() -> None:
    mixer = anchored()
    names = {name for name, _ in mixer.named_parameters()}
    assert "addition.weight" in names
    assert not any(name.startswith("anchor") for name in names)
    mixer(anchored_batch()).sum().backward()
    assert mixer.addition.weight.grad is not None


def test_the_anchor_is_saved_with_the_weights(tmp_path: Path) -> None:
    mixer, features = anchored(), anchored_batch()
    save_model(mixer, str(tmp_path / "m.safetensors"))
    spec = MixerSpec(weights="m.safetensors", heads=2, anchor="light")
    fresh = build_mixer((LIGHT, PARTS), spec, ANCHORED_D).eval()
    load_model(fresh, tmp_path / "m.safetensors")
    torch.testing.assert_close(fresh(features), mixer(features))


def test_an_image_without_the_anchor_still_has_a_finite_embedding() -> None:
    mixer, features = anchored(), anchored_batch()
    features["light"] = FeatureBatch.from_global(torch.zeros(3, 6))
    torch.nn.init.eye_(mixer.addition.weight)
    torch.testing.assert_close(mixer(features).norm(dim=1), torch.ones(3))


def test_an_embedding_wider_than_its_anchor_is_rejected() -> None:
    with pytest.raises(ValueError, match="too narrow"):
        build_mixer((LIGHT, PARTS), MixerSpec(weights="m.safetensors", heads=2, anchor="light"), 8)


@pytest.mark.parametrize("name", ["parts", "nothing"])
def test_an_anchor_that_is_not_a_global_feature_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        build_mixer((LIGHT, PARTS), MixerSpec(weights="m.safetensors", heads=2, anchor=name), ANCHORED_D)


def test_a_specification_without_an_anchor_keeps_its_identity() -> None:
    assert "anchor" not in MixerSpec(weights="m.safetensors").identity()
    assert MixerSpec(weights="m.safetensors", anchor="light").identity()["anchor"] == "light"
