"""Which loss teaches which part of the pair (METHOD: joint training)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aff_contracts.bundle import FeatureSpec, MixerSpec
from aff_toolkit.training import joint_training
from aff_toolkit.training.image_set import ImageSet
from aff_toolkit.training.joint_training import TrainedPair, train_pair
from aff_toolkit.training.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import TrainingRecipe
from gallery_indexer.extractors.extractor import FeatureBatch
from tests.support.tiny_training import tiny_recipe

LossesOf = Callable[[Tensor], dict[str, Tensor]]

FEATURES = (
    FeatureSpec(name="whole", kind="global", dimension=6, max_tokens=1),
    FeatureSpec(name="parts", kind="local", dimension=5, max_tokens=3),
)
MIXER = MixerSpec(weights="none", layers=1, heads=2, mlp_ratio=2.0, dropout=0.1)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    source = torch.Generator().manual_seed(0)
    return ImageSet(
        pixels=torch.randint(0, 256, (16, 48, 48, 3), dtype=torch.uint8, generator=source),
        labels=torch.arange(16) % 4,
        features={
            feature.name: FeatureBatch(
                torch.randn(16, feature.max_tokens, feature.dimension, generator=source).half(),
                torch.ones(16, feature.max_tokens, dtype=torch.bool),
            )
            for feature in FEATURES
        },
    )


def recipe(*, regression_weight: float = 20.0, momentum: float = 0.99) -> TrainingRecipe:
    base = tiny_recipe()
    joint = base.joint.model_copy(update={"regression_weight": regression_weight, "momentum": momentum})
    return base.model_copy(update={"joint": joint})


def train(images: ImageSet, settings: TrainingRecipe, told: Callable[[int, dict[str, float]], None]) -> TrainedPair:
    torch.manual_seed(settings.seed)
    query_encoder = QueryEncoder(settings.query_encoder.width, settings.dimension)
    return train_pair(images, query_encoder, FEATURES, MIXER, settings, after_step=lambda: None, after_epoch=told)


@pytest.fixture
def untrained(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> tuple[nn.ModuleList, LossesOf]:
    """What the training hands to the optimiser: mixer, query encoder and classifier, and the losses of a batch."""
    handed: list[tuple[nn.ModuleList, LossesOf]] = []
    monkeypatch.setattr(
        joint_training,
        "optimise",
        lambda module, _batches, losses_of, _section, **_: handed.append((module, losses_of)),
    )
    train(images, recipe(), lambda *_: None)
    handed[0][0].train()
    return handed[0]


def reached(loss: Tensor, module: nn.Module) -> set[str]:
    """Names of the parameters that a loss has a gradient for."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


def test_the_losses_of_the_query_side_reach_the_query_encoder_and_nothing_else(
    untrained: tuple[nn.ModuleList, LossesOf],
) -> None:
    (mixer, query_encoder, classifier), losses = untrained[0], untrained[1](torch.arange(8))
    for name in ("compatible", "regression"):
        assert reached(losses[name], mixer) == set(), name
        assert reached(losses[name], classifier) == set(), name
        assert reached(losses[name], query_encoder) == {key for key, _ in query_encoder.named_parameters()}, name


def test_the_discriminative_loss_reaches_the_mixer_and_its_prototypes_and_nothing_else(
    untrained: tuple[nn.ModuleList, LossesOf],
) -> None:
    (mixer, query_encoder, classifier), losses = untrained[0], untrained[1](torch.arange(8))
    assert reached(losses["discriminative"], mixer) == {key for key, _ in mixer.named_parameters()}
    assert reached(losses["discriminative"], classifier) == {"w_mix"}
    assert reached(losses["discriminative"], query_encoder) == set()


def test_the_prototypes_of_the_query_side_learn_from_no_loss(untrained: tuple[nn.ModuleList, LossesOf]) -> None:
    classifier = untrained[0][2]
    before = classifier.w_q.clone()
    torch.stack(list(untrained[1](torch.arange(8)).values())).sum().backward()
    torch.optim.SGD(untrained[0].parameters(), lr=1.0).step()
    assert classifier.w_q.grad is None
    torch.testing.assert_close(classifier.w_q, before, rtol=0, atol=0)
    assert not torch.equal(classifier.w_mix, before)


def test_the_regression_is_weighed_and_a_weight_of_zero_turns_it_off(images: ImageSet) -> None:
    with_it: list[dict[str, float]] = []
    without: list[dict[str, float]] = []
    train(images, recipe(), lambda _, losses: with_it.append(losses))
    train(images, recipe(regression_weight=0.0), lambda _, losses: without.append(losses))
    assert set(with_it[0]) == {"discriminative", "compatible", "regression"}
    assert set(without[0]) == {"discriminative", "compatible"}
    assert 0.0 <= with_it[0]["regression"] <= 20.0 * 2


def test_a_seed_trains_the_same_pair_ready_for_use(images: ImageSet) -> None:
    first, second = (train(images, recipe(), lambda *_: None) for _ in range(2))
    for one, other in ((first.mixer, second.mixer), (first.query_encoder, second.query_encoder)):
        assert not one.training
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=0)


def test_the_query_side_follows_the_prototypes_of_the_gallery_side(images: ImageSet) -> None:
    follows, stays = (
        train(images, recipe(regression_weight=0.0, momentum=momentum), lambda *_: None) for momentum in (0.0, 1.0)
    )
    weights = [pair.query_encoder.network.whitening[0].weight for pair in (follows, stays)]
    assert not torch.equal(*weights)
