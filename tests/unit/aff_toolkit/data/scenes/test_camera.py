import numpy as np

from aff_toolkit.data.scenes.camera import expose

GREY = np.full((60, 80, 3), 120, np.uint8)


def exposed(seed: int, difficulty: float) -> np.ndarray:
    return expose(GREY, np.random.default_rng(seed), difficulty).astype(int)


def test_at_difficulty_0_a_photograph_shows_the_scene_as_it_is() -> None:
    ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    # One level: the exposure curve is rounded down.
    assert np.abs(expose(ramp, np.random.default_rng(0), 0.0).astype(int) - ramp).max() <= 1


def test_light_and_colour_stray_further_at_a_higher_difficulty() -> None:
    strayed = [np.mean([np.abs(exposed(seed, level) - 120).mean() for seed in range(30)]) for level in (0.2, 0.6, 1.0)]
    assert strayed[0] < strayed[1] < strayed[2]


def test_a_colour_cast_tints_a_grey_scene() -> None:
    spread = [np.ptp(exposed(seed, 1.0).mean(axis=(0, 1))) for seed in range(10)]
    assert np.median(spread) > 5.0


def test_the_scene_itself_is_left_as_it_was() -> None:
    exposed(3, 1.0)
    assert (GREY == 120).all()
