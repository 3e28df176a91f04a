"""Rankings are exported mode by mode, and a killed export resumes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from aff_toolkit.errors import BenchmarkError
from aff_toolkit.evaluation import embeddings as embeddings_module
from aff_toolkit.evaluation import export_rankings as export_module
from aff_toolkit.evaluation import export_rankings as side_encoders
from aff_toolkit.evaluation.baselines import RootSiftVladBaseline, colour_histograms
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
from aff_toolkit.evaluation.evaluation_record import BASELINES, MODES, EvaluationConfig, Method, Mode, rankings_path
from aff_toolkit.evaluation.export_rankings import ExportRankings
from aff_toolkit.evaluation.rankings import Rankings, read_rankings
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_bundle import TinyBundle


@contextmanager
def no_bar(description: str, total: int) -> Iterator[Any]:
    yield lambda _: None


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"), instances=3, views=3, labelled=True)


def export(
    bundle: Path,
    photographs: Path,
    directory: Path,
    modes: list[Mode],
    *,
    depth: int = 9,
    baselines: bool | None = False,
) -> dict[Method, Rankings]:
    config = EvaluationConfig(benchmark=BenchmarkChoice(name="folder", path=photographs), depth=depth)
    record = ExportRankings(config, bundle, directory, no_bar).run(modes, baselines=baselines)
    paths = {method: rankings_path(directory, method) for method in (*modes, *BASELINES)}
    return {method: read_rankings(path, record.key) for method, path in paths.items() if path.exists()}


def test_each_mode_ranks_by_the_two_encoders_of_its_name(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    found = export(tiny_bundle.bundle, photographs, tmp_path, list(MODES))
    heavy = GalleryEncoder.load(tiny_bundle.bundle, tiny_bundle.manifest, device="cpu").encode
    light = OnnxQueryEncoder.load(tiny_bundle.bundle, tiny_bundle.manifest, threads=1).encode
    images = [one.load() for one in BenchmarkChoice(name="folder", path=photographs).open().gallery]
    sides = {"light": light(images), "heavy": heavy(images)}
    for mode, (query_side, gallery_side) in {
        "asymmetric": ("light", "heavy"),
        "symmetric": ("heavy", "heavy"),
        "light-only": ("light", "light"),
    }.items():
        cosines = sides[query_side] @ sides[gallery_side].T
        assert found[mode].scores == pytest.approx(np.sort(cosines, axis=1)[:, ::-1], abs=1e-5)  # type: ignore[index]


def test_the_baselines_rank_by_what_needs_no_training(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    found = export(tiny_bundle.bundle, photographs, tmp_path, ["light-only"], baselines=None)
    gallery = BenchmarkChoice(name="folder", path=photographs).open().gallery
    images = [one.load() for one in gallery]
    sides = {
        "colour-histogram": colour_histograms(images),
        "rootsift-vlad": RootSiftVladBaseline.fit(gallery, lambda _: None).encode(images),
    }
    assert list(found) == ["light-only", *sides]
    for baseline, embeddings in sides.items():
        cosines = embeddings @ embeddings.T
        assert found[baseline].scores == pytest.approx(np.sort(cosines, axis=1)[:, ::-1], abs=1e-5)  # type: ignore[index]


def test_the_baselines_are_left_out_of_a_large_benchmark_unless_they_are_requested(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "BASELINES_UP_TO", 9 + 9 - 1)
    assert list(export(tiny_bundle.bundle, photographs, tmp_path, ["light-only"], baselines=None)) == ["light-only"]
    found = export(tiny_bundle.bundle, photographs, tmp_path, ["light-only"], baselines=True)
    assert list(found) == ["light-only", *BASELINES]


def test_a_killed_baseline_keeps_its_codebook_and_its_finished_shards(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings_module, "SHARD_PHOTOGRAPHS", 2)
    monkeypatch.setattr(embeddings_module, "_BATCH", 1)
    encode, seen, fit, fits = RootSiftVladBaseline.encode, [0], RootSiftVladBaseline.fit, [0]

    def counted(self: RootSiftVladBaseline, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if seen[0] == 14:  # the 9 queries, and two shards and a half of the gallery
            raise KeyboardInterrupt
        seen[0] += len(images)
        return encode(self, images)

    def counted_fit(*collaborators: Any) -> RootSiftVladBaseline:
        fits[0] += 1
        return fit(*collaborators)

    monkeypatch.setattr(RootSiftVladBaseline, "encode", counted)
    monkeypatch.setattr(RootSiftVladBaseline, "fit", counted_fit)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_bundle.bundle, photographs, tmp_path, ["light-only"], baselines=True)
    seen[0] = 100
    found = export(tiny_bundle.bundle, photographs, tmp_path, ["light-only"], baselines=True)
    assert (seen[0], fits[0]) == (100 + 5, 1)
    assert np.diff(found["rootsift-vlad"].scores, axis=1).max() <= 0.0


def test_a_baseline_uses_the_same_pixels_next_to_every_bundle(
    tiny_bundle: TinyBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1600, 1200, 3), np.uint8)
    for name in ("a/1.jpg", "a/2.jpg"):
        (tmp_path / "photographs" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "photographs" / name)
    sides: list[int] = []

    def noted(images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        sides.extend(max(image.shape) for image in images)
        return colour_histograms(images)

    monkeypatch.setattr(side_encoders, "colour_histograms", noted)
    export(tiny_bundle.bundle, tmp_path / "photographs", tmp_path / "out", ["light-only"], baselines=True)
    assert max(e.preprocessing.size for e in tiny_bundle.manifest.extractors) < 300
    assert min(sides) >= 320


def test_a_killed_export_embeds_no_finished_shard_again_and_ends_with_the_same_rankings(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings_module, "SHARD_PHOTOGRAPHS", 2)
    whole = export(tiny_bundle.bundle, photographs, tmp_path / "whole", ["symmetric"])["symmetric"]
    encode, seen = GalleryEncoder.encode, [0]

    def counted(self: GalleryEncoder, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        if seen[0] == 14:  # the 9 queries, and two shards and a half of the gallery
            raise KeyboardInterrupt
        seen[0] += len(images)
        return encode(self, images)

    monkeypatch.setattr(embeddings_module, "_BATCH", 1)
    monkeypatch.setattr(GalleryEncoder, "encode", counted)
    with pytest.raises(KeyboardInterrupt):
        export(tiny_bundle.bundle, photographs, tmp_path / "killed", ["symmetric"])
    seen[0] = 100
    resumed = export(tiny_bundle.bundle, photographs, tmp_path / "killed", ["symmetric"])["symmetric"]
    assert seen[0] == 100 + 5
    assert np.array_equal(resumed.rows, whole.rows)
    assert np.array_equal(resumed.ranks.values, whole.ranks.values)


def test_finished_modes_are_not_made_again_and_another_one_joins_them(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    export(tiny_bundle.bundle, photographs, tmp_path, ["asymmetric"])
    before = rankings_path(tmp_path, "asymmetric").stat().st_mtime_ns
    found = export(tiny_bundle.bundle, photographs, tmp_path, ["asymmetric", "light-only"])
    assert rankings_path(tmp_path, "asymmetric").stat().st_mtime_ns == before
    assert list(found) == ["asymmetric", "light-only"]


def test_a_ranking_is_kept_to_its_depth_and_labelled_images_keep_their_ranks_beyond_it(
    tiny_bundle: TinyBundle, photographs: Path, tmp_path: Path
) -> None:
    found = export(tiny_bundle.bundle, photographs, tmp_path, ["asymmetric"], depth=2)["asymmetric"]
    assert found.rows.shape == (9, 2)
    assert int(found.ranks.values.max()) >= 2
    assert len(found.ranks.values) == 9 * 3  # two positives, and the photograph itself


def test_a_gallery_of_which_nothing_can_be_read_is_rejected(tiny_bundle: TinyBundle, tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg"):
        (tmp_path / "photographs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photographs" / name).write_text("text")
    with pytest.raises(BenchmarkError, match=r"none of its 2 gallery images can be read: a/1\.jpg"):
        export(tiny_bundle.bundle, tmp_path / "photographs", tmp_path / "out", ["light-only"])
