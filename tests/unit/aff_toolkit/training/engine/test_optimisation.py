import pytest

from aff_toolkit.training.engine.optimisation import OptimisationSection, learning_rate


def section(decay: str) -> OptimisationSection:
    return OptimisationSection(epochs=1, batch_size=2, learning_rate=0.8, warm_up_share=0.4, decay=decay)


@pytest.mark.parametrize("decay", ["cosine", "linear", "none"])
def test_it_rises_in_equal_steps_to_the_peak(decay: str) -> None:
    rates = [learning_rate(section(decay), step, 10) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


def test_it_falls_linearly() -> None:
    rates = [learning_rate(section("linear"), step, 10) for step in (4, 7, 10)]
    assert rates == pytest.approx([0.8, 0.4, 0.0])


def test_it_falls_along_a_cosine() -> None:
    rates = [learning_rate(section("cosine"), step, 10) for step in (4, 6, 7, 10)]
    assert rates == pytest.approx([0.8, 0.8 * 0.75, 0.4, 0.0])


def test_it_stays_without_decay() -> None:
    assert learning_rate(section("none"), 9, 10) == 0.8


def test_no_warm_up_starts_at_the_peak() -> None:
    plain = OptimisationSection(epochs=1, batch_size=2, learning_rate=0.8, warm_up_share=0.0)
    assert learning_rate(plain, 0, 10) == 0.8
