"""Revisited Oxford and Paris from their official files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aff_shared.errors import AffError
from aff_toolkit.errors import BenchmarkError, GroundTruthError
from aff_toolkit.evaluation.revisited import RevisitedName, crop_of_stored_box, revisited_benchmark
from tests.support.images import encode, jpeg_bytes, quarters

OFFICIAL = Path(__file__).parents[5] / "shared" / "data" / "revisited"


def written(directory: Path) -> Path:
    """Two queries and four gallery images; the second query has no easy positive."""
    gnd: list[dict[str, Any]] = [
        {"bbx": [32.0, 0.0, 64.0, 32.0], "easy": [0], "hard": [1], "junk": [2]},
        {"bbx": [0.0, 32.0, 32.0, 64.0], "easy": [], "hard": [3], "junk": []},
    ]
    truth = {"imlist": ["g0", "g1", "g2", "g3"], "qimlist": ["q0", "q1"], "gnd": gnd}
    (directory / "gnd_roxford5k.pkl").write_bytes(pickle.dumps(truth))
    (directory / "jpg").mkdir()
    for name in [*truth["imlist"], *truth["qimlist"]]:
        (directory / "jpg" / f"{name}.jpg").write_bytes(jpeg_bytes(quarters(64)))
    return directory


def test_queries_are_cropped_to_their_boxes(tmp_path: Path) -> None:
    benchmark = revisited_benchmark("roxford5k", written(tmp_path))
    green, blue = (query.load() for query in benchmark.queries)
    assert green.shape == blue.shape == (32, 32, 3)
    assert green.mean(axis=(0, 1)) == pytest.approx([0, 255, 0], abs=6)
    assert blue.mean(axis=(0, 1)) == pytest.approx([0, 0, 255], abs=6)
    assert benchmark.gallery[0].load().shape == (64, 64, 3)


def test_each_setup_has_its_own_positives_and_junk(tmp_path: Path) -> None:
    benchmark = revisited_benchmark("roxford5k", written(tmp_path))
    found = {
        judged.setup: [(r.tolist(), sorted(i.tolist())) for r, i in zip(judged.relevant, judged.ignored, strict=True)]
        for judged in benchmark.judgements
    }
    assert found == {
        "easy": [([0], [1, 2]), ([], [3])],
        "medium": [([0, 1], [2]), ([3], [])],
        "hard": [([1], [0, 2]), ([3], [])],
    }


def test_distractors_follow_the_gallery(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "more" / "deep" / "d.jpg").write_bytes(jpeg_bytes())
    benchmark = revisited_benchmark("roxford5k", tmp_path, distractors=tmp_path / "more")
    assert [one.name for one in benchmark.gallery] == ["g0", "g1", "g2", "g3", "distractors/deep/d.jpg"]
    assert "with 1 distractors" in benchmark.description


def test_missing_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(GroundTruthError, match="cannot be read"):
        revisited_benchmark("roxford5k", tmp_path)
    benchmark = revisited_benchmark("roxford5k", written(tmp_path))
    (tmp_path / "jpg" / "q0.jpg").unlink()
    with pytest.raises(AffError, match="cannot be read"):
        benchmark.queries[0].load()
    for path in (tmp_path / "jpg").iterdir():
        path.unlink()
    (tmp_path / "jpg").rmdir()
    with pytest.raises(BenchmarkError, match="is not there"):
        revisited_benchmark("roxford5k", tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_stored_box_shows_the_same_pixels_however_the_photograph_is_turned(orientation: int) -> None:
    rng = np.random.default_rng(0)
    stored = rng.integers(0, 256, (30, 50, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(stored, "PNG", exif=exif)
    crop = crop_of_stored_box(data, (4.4, 5.0, 30.0, 99.0), name="photograph")
    upright = _turned(Image.fromarray(stored), orientation)
    shown = upright[int(crop.top) : int(crop.bottom), int(crop.left) : int(crop.right)]
    expected = _turned(Image.fromarray(stored[5:30, 4:30]), orientation)
    assert np.array_equal(shown, expected)


def _turned(image: Image.Image, orientation: int) -> np.ndarray[Any, Any]:
    """Apply the orientation as EXIF 2.3 defines it, by mirroring and quarter turns alone."""
    pixels = np.asarray(image)
    quarter_turns, mirrored = {1: (0, 0), 2: (0, 1), 3: (2, 0), 4: (2, 1), 5: (1, 1), 6: (3, 0), 7: (3, 1), 8: (1, 0)}[
        orientation
    ]
    turned = np.rot90(pixels, quarter_turns)
    if not mirrored:
        return turned
    return turned[:, ::-1] if orientation in {2, 4} else turned[::-1]


def test_what_is_beyond_the_photograph_is_no_crop() -> None:
    with pytest.raises(AffError):
        crop_of_stored_box(jpeg_bytes(), (500.0, 500.0, 600.0, 600.0), name="photograph")
    with pytest.raises(AffError, match="photograph"):
        crop_of_stored_box(b"text", (0.0, 0.0, 9.0, 9.0), name="photograph")


@pytest.mark.parametrize(("name", "images"), [("roxford5k", 4993), ("rparis6k", 6322)])
def test_the_official_ground_truth_makes_a_benchmark(name: RevisitedName, images: int, tmp_path: Path) -> None:
    official = OFFICIAL / f"gnd_{name}.pkl"
    if not official.exists():
        pytest.skip("the official ground truth is not here")
    (tmp_path / official.name).write_bytes(official.read_bytes())
    (tmp_path / "jpg").mkdir()
    benchmark = revisited_benchmark(name, tmp_path)
    assert (len(benchmark.queries), len(benchmark.gallery)) == (70, images)
    assert [judged.setup for judged in benchmark.judgements] == ["easy", "medium", "hard"]
    query = benchmark.queries[0]
    (tmp_path / "jpg" / f"{query.name}.jpg").write_bytes(jpeg_bytes(quarters(1024)))
    assert 0 < min(query.load().shape[:2]) < 1024
