"""The dynamic mixer against the paper's equations, written out one by one."""

import math

import pytest
import torch

from aff_shared.bundles.bundle import FeatureSpec, MixerSpec
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.transformer import DynamicMixer

FEATURES = (
    FeatureSpec(name="one_global", kind="global", dimension=6, max_tokens=1),
    FeatureSpec(name="one_local", kind="local", dimension=5, max_tokens=3),
)
SPEC = MixerSpec(weights="mixer.safetensors", layers=2, heads=2, mlp_ratio=2.0, dropout=0.1)
D = 8


@pytest.fixture
def mixer() -> DynamicMixer:
    torch.manual_seed(0)
    return DynamicMixer(FEATURES, SPEC, D).eval()


def features(masked: int = 0) -> dict[str, FeatureBatch]:
    generator = torch.Generator().manual_seed(1)
    local = torch.randn(2, 3, 5, generator=generator)
    mask = torch.ones(2, 3, dtype=torch.bool)
    if masked:
        mask[:, -masked:] = False
    return {
        "one_global": FeatureBatch.from_global(torch.randn(2, 6, generator=generator)),
        "one_local": FeatureBatch(local, mask),
    }


def layer_by_hand(layer: torch.nn.TransformerEncoderLayer, Z: torch.Tensor) -> torch.Tensor:
    """Zb = LN(Z + MHSA(Z)); Z' = LN(Zb + GELU(Zb W1) W2), for one image of shape (N, D)."""
    attention = layer.self_attn
    q, k, v = (Z @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=1)
    width = D // SPEC.heads
    heads = []
    for h in range(SPEC.heads):
        part = slice(h * width, (h + 1) * width)
        weights = torch.softmax(q[:, part] @ k[:, part].T / math.sqrt(width), dim=1)
        heads.append(weights @ v[:, part])
    attended = torch.cat(heads, dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias
    Zb = layer.norm1(Z + attended)
    hidden = torch.nn.functional.gelu(Zb @ layer.linear1.weight.T + layer.linear1.bias)
    return layer.norm2(Zb + hidden @ layer.linear2.weight.T + layer.linear2.bias)


def test_it_computes_the_papers_equations(mixer: DynamicMixer) -> None:
    batch = features()
    for image in range(2):
        rows = [mixer.fusion_token]
        for name in ("one_global", "one_local"):
            W = mixer.projections[name].weight
            rows += [W @ token + mixer.origins[name] for token in batch[name].values[image]]
        Z = torch.stack(rows)
        for layer in mixer.transformer.layers:
            Z = layer_by_hand(layer, Z)
        expected = Z[0] / Z[0].norm()
        torch.testing.assert_close(mixer(batch)[image], expected, rtol=1e-4, atol=1e-5)


def test_embeddings_have_unit_length(mixer: DynamicMixer) -> None:
    torch.testing.assert_close(mixer(features()).norm(dim=1), torch.ones(2))


def test_a_masked_token_has_no_effect(mixer: DynamicMixer) -> None:
    batch = features(masked=1)
    changed = FeatureBatch(batch["one_local"].values.clone(), batch["one_local"].mask)
    changed.values[:, -1] = 100.0
    torch.testing.assert_close(mixer(batch), mixer({**batch, "one_local": changed}))


def test_an_image_without_local_tokens_is_embedded_from_the_other_features(mixer: DynamicMixer) -> None:
    assert torch.isfinite(mixer(features(masked=3))).all()


def test_the_order_of_local_tokens_does_not_matter(mixer: DynamicMixer) -> None:
    batch = features()
    shuffled = FeatureBatch(batch["one_local"].values[:, [2, 0, 1]], batch["one_local"].mask)
    torch.testing.assert_close(mixer(batch), mixer({**batch, "one_local": shuffled}))
