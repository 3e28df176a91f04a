import numpy as np

from aff_toolkit.data.scenes.occluders import occlude


def hidden_share(seed: int, difficulty: float) -> float:
    scene = np.full((240, 320, 3), 7, np.uint8)
    occlude(scene, np.random.default_rng(seed), difficulty)
    return float((scene != 7).any(axis=2).mean())


def test_at_difficulty_0_nothing_stands_in_the_way() -> None:
    assert hidden_share(1, 0.0) == 0.0


def test_more_is_hidden_at_a_higher_difficulty_and_most_stays_visible() -> None:
    hidden = [np.mean([hidden_share(seed, level) for seed in range(40)]) for level in (0.2, 0.6, 1.0)]
    assert 0.0 < hidden[0] < hidden[1] < hidden[2] < 0.5
