"""What a photograph depends on: its arguments, and beside the landmark itself on nothing that tells the landmark."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from aff_toolkit.data.scenes.facade import draw_facade
from aff_toolkit.data.scenes.view import render_view


def test_another_process_with_nothing_cached_renders_the_same_photograph() -> None:
    program = (
        "import hashlib; from aff_toolkit.data.scenes.view import render_view; "
        "print(hashlib.sha256(render_view(7, 2).tobytes()).hexdigest())"
    )
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == hashlib.sha256(render_view(7, 2).tobytes()).hexdigest()


def test_rendering_leaves_the_cached_landmark_as_it_is() -> None:
    texture, silhouette = (part.copy() for part in draw_facade(5))
    for view in range(5):
        render_view(5, view, difficulty=1.0)
    np.testing.assert_array_equal(draw_facade(5)[0], texture)
    np.testing.assert_array_equal(draw_facade(5)[1], silhouette)


def test_the_sky_tells_nothing_about_the_landmark() -> None:
    """At difficulty 0 no landmark reaches the upper left corner, which shows the surroundings alone."""
    sky = np.array(
        [
            [render_view(landmark, view, difficulty=0.0)[:8, :8].mean((0, 1)) for view in range(6)]
            for landmark in range(40)
        ]
    )
    within = np.abs(sky[:, :-1] - sky[:, 1:]).mean()
    between = np.abs(sky[:-1] - sky[1:]).mean()
    assert within == pytest.approx(between, rel=0.2)
