"""The learning rate over a training: linear warm-up, then a decay to zero."""

from __future__ import annotations

import math

from aff_toolkit.training.engine.optimisation_section import OptimisationSection


def learning_rate(section: OptimisationSection, step: int, steps: int) -> float:
    """Return the learning rate of a step.

    Args:
        section: Peak, warm-up and decay.
        step: Number of the step, from 0.
        steps: Steps of the whole training.
    """
    warm_up = round(section.warm_up_share * steps)
    if step < warm_up:
        return section.learning_rate * (step + 1) / warm_up
    done = (step - warm_up) / max(steps - warm_up, 1)
    falling = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "none": 1.0}
    return section.learning_rate * falling[section.decay]
