"""Photographs are compared by their colours alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aff_shared.errors import AffError
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.data.scenes import render_view
from aff_toolkit.errors import RankingsNotWrittenError
from aff_toolkit.evaluation import baselines as module
from aff_toolkit.evaluation.baselines import RootSiftVladBaseline, colour_histograms
from aff_toolkit.evaluation.evaluation_record import BASELINE_DIMENSIONS

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (128, 128, 128)


def stripes(*colours: tuple[int, int, int]) -> np.ndarray:
    """An image of equal stripes, 30 pixels wide each."""
    return np.concatenate([np.full((20, 30, 3), colour, np.uint8) for colour in colours], axis=1)


def box(hue: int, saturation: int, value: int) -> int:
    return (hue * 8 + saturation) * 8 + value


def test_each_component_is_the_root_of_the_share_of_pixels_in_its_box() -> None:
    (found,) = colour_histograms([stripes(RED, RED, BLUE, GREY)])
    # Degrees of hue 0 and 240 of 360 in boxes of 45; full saturation or none; value 255 or 128 in boxes of 32.
    expected = np.zeros(512)
    expected[box(0, 7, 7)], expected[box(5, 7, 7)], expected[box(0, 0, 4)] = 2 / 4, 1 / 4, 1 / 4
    assert found == pytest.approx(np.sqrt(expected))


def test_where_the_colours_are_and_how_large_the_photograph_is_does_not_matter() -> None:
    one, other, large = colour_histograms(
        [stripes(RED, BLUE), stripes(BLUE, RED), stripes(RED, BLUE).repeat(3, axis=0)]
    )
    assert one @ other == pytest.approx(1.0)
    assert one @ large == pytest.approx(1.0)


def test_photographs_without_a_colour_in_common_have_similarity_zero() -> None:
    red, blue = colour_histograms([stripes(RED), stripes(BLUE)])
    assert red @ blue == 0.0


def test_a_large_photograph_is_reduced_first() -> None:
    # A chequerboard of single pixels has become one colour by then.
    board = np.zeros((1024, 1024, 3), np.uint8)
    board[(np.indices((1024, 1024)).sum(axis=0) % 2) == 1] = 255
    (found,) = colour_histograms([board])
    assert found[box(0, 0, 0)] == 0.0
    assert found[[box(0, 0, 3), box(0, 0, 4)]].max() > 0.9


def test_there_are_as_many_components_as_the_reports_name() -> None:
    found = colour_histograms([stripes(RED), stripes(BLUE, GREY)])
    assert (found.shape, found.dtype) == ((2, BASELINE_DIMENSIONS["colour-histogram"]), np.float32)


WIDTH = BASELINE_DIMENSIONS["rootsift-vlad"]


def photograph_of(pixels: NDArray[np.uint8]) -> Photograph:
    return Photograph("x", "x", lambda: pixels)


def landmark(number: int, view: int = 0) -> NDArray[np.uint8]:
    return render_view(number, view, size=(160, 160), difficulty=0.1)


def fitted(gallery: list[NDArray[np.uint8]]) -> RootSiftVladBaseline:
    return RootSiftVladBaseline.fit([photograph_of(pixels) for pixels in gallery], lambda _: None)


def test_another_view_of_a_landmark_is_more_alike_than_other_landmarks() -> None:
    gallery = [landmark(number) for number in range(6)]
    baseline = fitted(gallery)
    cosines = baseline.encode([landmark(number, view=1) for number in range(6)]) @ baseline.encode(gallery).T
    assert np.mean(cosines.argmax(axis=1) == np.arange(6)) >= 5 / 6


def test_embeddings_have_unit_length_and_the_width_that_the_reports_name() -> None:
    found = fitted([landmark(0), landmark(1)]).encode([landmark(0), landmark(2)])
    assert (found.shape, found.dtype) == ((2, WIDTH), np.float32)
    assert np.linalg.norm(found, axis=1) == pytest.approx([1.0, 1.0])


def test_a_photograph_without_keypoints_has_a_zero_vector() -> None:
    plain = np.full((64, 64, 3), 90, np.uint8)
    assert not fitted([landmark(0)]).encode([plain]).any()
    assert fitted([plain]).encode([plain, landmark(0)]).shape == (2, WIDTH)


def test_a_gallery_of_fewer_keypoints_than_centres_leaves_the_width_as_it_is() -> None:
    spots = np.full((64, 64, 3), 90, np.uint8)
    spots[20:26, 20:26] = 255
    baseline = fitted([spots])
    centres = np.unique(baseline.encoder.codebook, axis=0)
    assert 1 <= len(centres) < 64
    (found,) = baseline.encode([landmark(0)])
    assert found.shape == (baseline.encoder.codebook.size,)
    assert np.linalg.norm(found) == pytest.approx(1.0)


def test_equal_galleries_return_equal_codebooks() -> None:
    gallery = [landmark(number) for number in range(3)]
    assert np.array_equal(fitted(gallery).encoder.codebook, fitted(gallery).encoder.codebook)


def test_the_codebook_is_fitted_on_a_sample_and_what_cannot_be_read_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unreadable() -> NDArray[np.uint8]:
        raise AffError("is not an image")

    monkeypatch.setattr(module, "FITTED_ON", 3)
    done: list[int] = []
    gallery = [Photograph("y", "y", unreadable), *(photograph_of(landmark(number)) for number in range(4))]
    baseline = RootSiftVladBaseline.fit(gallery, done.append)
    assert sum(done) == 3
    assert baseline.encode([landmark(0)]).any()


def test_a_codebook_is_read_as_it_was_written_and_a_damaged_one_is_none(tmp_path: Path) -> None:
    baseline, path = fitted([landmark(0)]), tmp_path / "codebooks" / "x.safetensors"
    assert RootSiftVladBaseline.read(path) is None
    baseline.write(path)
    read = RootSiftVladBaseline.read(path)
    assert read is not None
    assert np.array_equal(read.encode([landmark(1)]), baseline.encode([landmark(1)]))
    assert [one.name for one in path.parent.iterdir()] == ["x.safetensors"]
    path.write_bytes(path.read_bytes()[:100])
    assert RootSiftVladBaseline.read(path) is None


def test_a_codebook_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RankingsNotWrittenError) as caught:
        fitted([landmark(0)]).write(tmp_path / "file" / "x.safetensors")
    assert caught.value.item == str(tmp_path / "file" / "x.safetensors")
