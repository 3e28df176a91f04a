import torch

from aff_toolkit.training.momentum_classifier import MomentumClassifier


def test_the_query_prototypes_start_as_a_copy() -> None:
    classifier = MomentumClassifier(5, 3, momentum=0.9)
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())


def test_the_query_prototypes_follow_by_momentum() -> None:
    classifier = MomentumClassifier(2, 2, momentum=0.9)
    classifier.w_q.fill_(1.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.follow()
    torch.testing.assert_close(classifier.w_q, torch.full((2, 2), 0.9 * 1.0 + 0.1 * 3.0))


def test_momentum_zero_copies() -> None:
    classifier = MomentumClassifier(2, 2, momentum=0.0)
    torch.nn.init.constant_(classifier.w_mix, 3.0)
    classifier.follow()
    torch.testing.assert_close(classifier.w_q, classifier.w_mix.detach())


def test_no_gradient_ever_reaches_the_query_prototypes() -> None:
    classifier = MomentumClassifier(2, 2, momentum=0.9)
    assert [name for name, _ in classifier.named_parameters()] == ["w_mix"]
    assert not classifier.w_q.requires_grad
