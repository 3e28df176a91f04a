import torch

from aff_toolkit.training.engine.shared_classifier import SharedClassifier


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


def test_the_query_side_sees_the_learning_prototypes_only_when_it_is_coupled() -> None:
    classifier = SharedClassifier(2, 2, alpha=0.9)
    assert classifier.prototypes_for_query(coupled=True) is classifier.w_mix
    assert classifier.prototypes_for_query(coupled=False) is classifier.w_q


def test_settling_copies_whatever_alpha_is() -> None:
    classifier = SharedClassifier(2, 2, alpha=1.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.ema_update()
    assert not torch.equal(classifier.w_q, classifier.w_mix)
    classifier.settle()
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())
