"""Where the gradients of the joint training go, by stage and update rule; and its training set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.accelerator import Accelerator
from torch import nn

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec, MixerSpec
from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.data.augmentation import Augmentation, augment
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.engine.joint_model import (
    FineTuning,
    JointModel,
    JointSettings,
    SharedClassifier,
    Stage,
    UpdateRule,
)
from aff_toolkit.training.engine.optimisation import OptimisationSection, TrainingPlan, build_optimiser
from aff_toolkit.training.engine.training_loop import TrainingLoop
from aff_toolkit.training.engine.training_set import Batch, TrainingSet, generator_of, shuffled_batches
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings
from aff_toolkit.training.losses import DEFAULT_LOSSES, ArcFace, CompatibilityLoss, ContextualSimilarity
from gallery_indexer.features.extractors.extractor import FeatureBatch
from gallery_indexer.features.mixers.build_mixer import build_mixer
from gallery_indexer.features.networks.resnet import ResidualNetwork

WHOLE = FeatureSpec(name="whole", kind="global", dimension=6, max_tokens=1)
D, CLASSES = 8, 4


def model(
    stage: Stage = "joint",
    kind: str = "momentum",
    fine_tuning: FineTuning | None = None,
    **settings: Any,
) -> JointModel:
    torch.manual_seed(2)
    update = UpdateRule.model_validate({"kind": kind, "alpha": 0.9})
    return JointModel(
        build_mixer((WHOLE,), MixerSpec(weights="m", layers=1, heads=2), D),
        QueryEncoder(ResidualNetwork(8, D)),
        SharedClassifier(CLASSES, D, update.alpha),
        JointSettings(update=update, **settings),
        stage=stage,
        train_size=16,
        fine_tuning=fine_tuning,
    )


def batch() -> Batch:
    source = torch.Generator().manual_seed(6)
    pixels = torch.randint(0, 256, (8, 20, 20, 3), generator=source).to(torch.uint8)
    features = {"whole": FeatureBatch.from_global(torch.randn(8, 6, generator=source))}
    return Batch(pixels, torch.arange(8) % CLASSES, features)


def reached(network: JointModel, losses: dict[str, torch.Tensor], names: set[str]) -> set[str]:
    """Return the parts that a gradient of the named losses reaches."""
    torch.stack([loss for name, loss in losses.items() if name in names]).sum().backward()
    return {
        name.split(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.abs().sum() > 0
    }


def test_the_discriminative_loss_reaches_mixer_and_prototypes_alone() -> None:
    network = model().train()
    losses = network(batch(), 0)
    assert set(losses) == {"discriminative", "arcface", "reg"}
    assert reached(network, losses, {"discriminative"}) == {"mixer", "classifier"}


def test_decoupled_losses_reach_the_query_encoder_alone() -> None:
    network = model().train()
    assert reached(network, network(batch(), 0), {"arcface", "reg"}) == {"query_encoder"}


def test_coupled_losses_reach_everything() -> None:
    network = model(kind="coupled").train()
    assert reached(network, network(batch(), 0), {"arcface", "reg"}) == {"query_encoder", "mixer", "classifier"}


def test_a_coupled_distillation_reaches_the_mixer() -> None:
    network = model(kind="coupled", losses=(ContextualSimilarity(),)).train()
    assert reached(network, network(batch(), 0), {"csd"}) == {"query_encoder", "mixer"}


def test_the_gallery_stage_trains_no_query_encoder_and_the_query_stage_nothing_else() -> None:
    gallery, query = model("gallery").train(), model("query").train()
    assert set(gallery(batch(), 0)) == {"discriminative"}
    assert set(query(batch(), 0)) == {"arcface", "reg"}
    assert [len(side.parameters) > 0 for side in gallery.sides()] == [True, False]
    assert [len(side.parameters) > 0 for side in query.sides()] == [False, True]
    assert not query.mixer.training
    assert query.query_encoder.training


def test_the_weights_of_the_losses_are_applied() -> None:
    plain, heavy = (model(losses=(ArcFace(weight=weight),)).eval() for weight in (1.0, 3.0))
    torch.testing.assert_close(heavy(batch(), 5)["arcface"], 3.0 * plain(batch(), 5)["arcface"])


def step(network: JointModel) -> None:
    """Take one step of a training."""
    optimiser = build_optimiser(network.sides(), OptimisationSection(epochs=1, batch_size=8, learning_rate=0.1))
    torch.stack(list(network.train()(batch(), 0).values())).sum().backward()
    optimiser.step()


def statistics(network: JointModel) -> dict[str, torch.Tensor]:
    state = network.query_encoder.state_dict()
    return {name: value.clone() for name, value in state.items() if "running" in name}


def test_a_step_of_fine_tuning_leaves_the_statistics_of_batch_normalisations_and_moves_their_weights() -> None:
    network = model(fine_tuning=FineTuning())
    first = next(one for one in network.query_encoder.modules() if isinstance(one, nn.BatchNorm2d))
    before, scales = statistics(network), first.weight.detach().clone()
    step(network)
    assert len(before) > 0
    torch.testing.assert_close(statistics(network), before, rtol=0, atol=0)
    assert not torch.equal(first.weight.detach(), scales)


def test_a_step_without_fine_tuning_moves_the_statistics() -> None:
    network = model()
    before = statistics(network)
    step(network)
    assert all(not torch.equal(value, before[name]) for name, value in statistics(network).items())


def test_the_query_side_learns_at_the_share_that_fine_tuning_names() -> None:
    sides = model(fine_tuning=FineTuning(learning_rate_share=0.25)).sides()
    assert [side.learning_rate_share for side in sides] == [1.0, 0.25]
    assert [side.learning_rate_share for side in model().sides()] == [1.0, 1.0]


def test_the_query_encoder_is_trained_on_what_the_chosen_augmentation_makes_of_the_photographs() -> None:
    how, seen = Augmentation(perspective=0.3, blurred_share=1.0), []
    network = model(augmentation=how).train()
    network.query_encoder.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    network(batch(), 3)
    torch.testing.assert_close(seen[0], augment(batch().pixels, 16, 3, how), rtol=0, atol=0)


def training_set(directory: Path) -> TrainingSet:
    colours = np.random.default_rng(0).integers(0, 256, (12, 3))
    photographs = [
        Photograph(str(i), f"thing-{i % CLASSES}", lambda i=i: np.full((20, 20, 3), colours[i], np.uint8))
        for i in range(12)
    ]
    spec = ExtractorSpec(
        name="plain",
        family="plain",
        preprocessing=Preprocessing(resize="stretch", size=16),
        features=(WHOLE,),
        weights_source="none",
    )

    def extract(images: list[np.ndarray]) -> dict[str, FeatureBatch]:
        means = torch.tensor(np.array([image.mean(axis=(0, 1)) / 255 for image in images]), dtype=torch.float32)
        return {"whole": FeatureBatch.from_global(torch.cat([means, 1 - means], dim=1))}

    settings = StoreSettings(pixel_size=20, shard_photographs=5)
    store = extract_features(photographs, ExtractorSet((spec,)), extract, directory, settings, lambda _: None)
    return TrainingSet(store, ["whole"])


def test_the_training_set_reads_pixels_features_and_labels_of_the_same_photographs(tmp_path: Path) -> None:
    photographs = training_set(tmp_path)
    found = photographs[0, torch.tensor([7, 2])]
    assert photographs.classes == CLASSES
    assert photographs.instances.tolist() == ["thing-0", "thing-1", "thing-2", "thing-3"]
    assert found.labels.tolist() == [3, 2]
    colours = found.pixels[:, 0, 0].float() / 255
    torch.testing.assert_close(found.features["whole"].values[:, 0, :3], colours, atol=2e-3, rtol=0)


def test_rows_without_a_pseudo_instance_are_left_out(tmp_path: Path) -> None:
    training_set(tmp_path)
    from aff_toolkit.training.features.feature_store import FeatureStore  # noqa: PLC0415

    found = TrainingSet(FeatureStore.open(tmp_path), [], instances=["a", "", "b"] * 4)
    assert len(found) == 8
    assert found.classes == 2


@pytest.mark.parametrize("losses", [(ArcFace(),), DEFAULT_LOSSES], ids=["arcface", "sum"])
def test_the_decoupled_mixer_does_not_depend_on_what_the_query_side_learns(
    tmp_path: Path, losses: tuple[CompatibilityLoss, ...]
) -> None:
    photographs = training_set(tmp_path)
    section = OptimisationSection(epochs=3, batch_size=4, learning_rate=0.01)

    def train(compatible: tuple[CompatibilityLoss, ...]) -> JointModel:
        network = model(losses=compatible)
        plan = TrainingPlan(
            lambda epoch: shuffled_batches(len(photographs), 4, generator_of(1, epoch)), photographs, section, seed=1
        )
        TrainingLoop(network, plan, Accelerator(), None).run()
        return network

    reference, other = train((ContextualSimilarity(),)), train(losses)
    for name, value in reference.mixer.state_dict().items():
        torch.testing.assert_close(other.mixer.state_dict()[name], value, rtol=0, atol=0)
    torch.testing.assert_close(other.classifier.w_q, reference.classifier.w_q, rtol=0, atol=0)


def test_the_query_prototypes_start_as_a_copy() -> None:
    classifier = SharedClassifier(5, 3, alpha=0.9)
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())


def test_the_query_prototypes_follow_by_momentum() -> None:
    classifier = SharedClassifier(2, 2, alpha=0.9)
    classifier.w_q.fill_(1.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.ema_update()
    torch.testing.assert_close(classifier.w_q, torch.full((2, 2), 0.9 * 1.0 + 0.1 * 3.0))


def test_alpha_zero_copies() -> None:
    classifier = SharedClassifier(2, 2, alpha=0.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.ema_update()
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())


def test_no_gradient_ever_reaches_the_query_prototypes() -> None:
    classifier = SharedClassifier(2, 2, alpha=0.9)
    assert [name for name, _ in classifier.named_parameters()] == ["w_mix"]
    assert not classifier.w_q.requires_grad


def test_settling_copies_whatever_alpha_is() -> None:
    classifier = SharedClassifier(2, 2, alpha=1.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.ema_update()
    assert not torch.equal(classifier.w_q, classifier.w_mix)
    classifier.settle()
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())
