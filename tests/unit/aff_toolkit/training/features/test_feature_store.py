"""The feature store: what is written is read, a kill loses one shard, damage is named."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from aff_shared.bundles.bundle import ExtractorSpec, FeatureSpec
from aff_shared.errors import ImageError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit.data.augmentation import Augmentation
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.training.features.extract_features import extract_features
from aff_toolkit.training.features.feature_store import CalibrationPhotographs, FeatureStore, sample_readable
from aff_toolkit.training.features.store_description import ExtractorSet, StoreSettings, describe_store
from gallery_indexer.features.extractors.extractor import FeatureBatch, Images
from gallery_indexer.features.shards import (
    FeatureNotFiniteError,
    FeatureShardError,
    FeatureStoreError,
    FeatureStoreMismatchError,
    FeatureStoreNotWrittenError,
)
from tests.support.full_disk import no_file_beyond
from tests.support.tiny_training import TinyTraining

N, UNREADABLE = 11, 4
SPEC = ExtractorSpec(
    name="plain",
    family="plain",
    preprocessing=Preprocessing(resize="stretch", size=16),
    features=(
        FeatureSpec(name="whole", kind="global", dimension=3, max_tokens=1),
        FeatureSpec(name="parts", kind="local", dimension=2, max_tokens=5),
    ),
    weights_source="none",
)
SETTINGS = StoreSettings(pixel_size=16, shard_photographs=4, batch_size=3)


def grey(row: int) -> np.ndarray:
    return np.full((20, 30, 3), 10 * row, dtype=np.uint8)


def load(row: int) -> np.ndarray:
    if row == UNREADABLE:
        raise ImageError("is not an image")
    return grey(row)


def photographs() -> list[Photograph]:
    return [Photograph(f"{row}.jpg", f"thing-{row // 2}", lambda row=row: load(row)) for row in range(N)]


class Extractor:
    """Returns the mean of an image, and its number modulo six as the number of tokens."""

    def __init__(self, broken: int | None = None, killed_at: int | None = None) -> None:
        self.images = 0
        self.broken = broken
        self.killed_at = killed_at

    def __call__(self, images: Images) -> dict[str, FeatureBatch]:
        numbers = [float(image.mean()) / 10 for image in images]
        self.images += len(images)
        if self.killed_at is not None and self.images > self.killed_at:
            raise KeyboardInterrupt
        whole = torch.tensor([[n, n + 1, float("nan") if n == self.broken else n + 2] for n in numbers])
        counts = [round(n) % 6 for n in numbers]
        mask = torch.arange(5)[None] < torch.tensor(counts)[:, None]
        values = torch.tensor([[[n, t] for t in range(5)] for n in numbers]) * mask[..., None]
        positions = torch.tensor([[[t / 8, n / 16] for t in range(5)] for n in numbers]) * mask[..., None]
        return {"whole": FeatureBatch.from_global(whole), "parts": FeatureBatch(values, mask, positions)}


def make(directory: Path, extractor: Extractor | None = None, settings: StoreSettings = SETTINGS) -> FeatureStore:
    seen: list[int] = []
    store = extract_features(
        photographs(), ExtractorSet((SPEC,)), extractor or Extractor(), directory, settings, seen.append
    )
    assert sum(seen) == N
    return store


def test_what_was_written_is_read_in_any_order(tmp_path: Path) -> None:
    store = make(tmp_path)
    rows = np.array([10, 0, 5, 3, 5], dtype=np.int64)
    features = store.read_features(rows)
    pixels = store.read_pixels(rows)
    assert features["parts"].values.shape == (5, 5, 2)
    for place, row in enumerate(rows.tolist()):
        assert pixels[place].shape == (16, 16, 3)
        assert (pixels[place] == 10 * row).all()
        assert features["whole"].values[place, 0].tolist() == [row, row + 1, row + 2]
        count = row % 6
        assert features["parts"].mask[place].tolist() == [t < count for t in range(5)]
        assert features["parts"].values[place, :count].tolist() == [[row, t] for t in range(count)]
        assert features["parts"].positions[place, :count].tolist() == [[t / 8, row / 16] for t in range(count)]
        assert features["parts"].values[place, count:].abs().sum() == 0


def test_local_tokens_are_padded_to_the_longest_of_the_batch_alone(tmp_path: Path) -> None:
    store = make(tmp_path)
    assert store.read_features(np.array([1, 2]), ["parts"])["parts"].values.shape == (2, 2, 2)
    nothing = store.read_features(np.array([0, 6]), ["parts"])["parts"]
    assert nothing.values.shape == (2, 1, 2)
    assert not nothing.mask.any()


def test_an_unreadable_photograph_is_noted_and_left_out(tmp_path: Path) -> None:
    store = make(tmp_path)
    assert store.unreadable() == {UNREADABLE: "4.jpg: is not an image"}
    assert np.flatnonzero(~store.readable).tolist() == [UNREADABLE]
    assert store.names[2] == "2.jpg"
    assert store.instances[2] == "thing-1"


def test_a_killed_extraction_resumes_with_the_next_shard(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path, Extractor(killed_at=8))
    with pytest.raises(FeatureShardError, match="missing"):
        FeatureStore.open(tmp_path)
    again = Extractor()
    make(tmp_path, again)
    assert again.images < N - 1
    first = make(tmp_path / "whole").read_features(np.arange(N))
    for name, feature in FeatureStore.open(tmp_path, verify=True).read_features(np.arange(N)).items():
        torch.testing.assert_close(feature.values, first[name].values, rtol=0, atol=0)


def test_a_finished_store_runs_no_extractor(tmp_path: Path) -> None:
    make(tmp_path)
    again = Extractor()
    make(tmp_path, again)
    assert again.images == 0


DAMAGES = {
    "removed": lambda path: path.unlink(),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "altered": lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
    "without its note": lambda path: path.with_suffix(".json").unlink(),
    "with an empty note": lambda path: path.with_suffix(".json").write_text("{}"),
    "with half a note": lambda path: path.with_suffix(".json").write_text('{"size_by'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_shard_is_named_and_made_again_alone(tmp_path: Path, damage: str) -> None:
    make(tmp_path)
    path = tmp_path / "shard-00001.safetensors"
    content = path.read_bytes()
    DAMAGES[damage](path)
    with pytest.raises(FeatureShardError, match="run the extraction again") as caught:
        FeatureStore.open(tmp_path, verify=True)
    assert caught.value.item == str(path)
    again = Extractor()
    make(tmp_path, again)
    assert again.images == 3
    assert path.read_bytes() == content


@pytest.mark.parametrize("text", ["", '["0.jpg", "thing-0"]\n', '["0.jpg", "thi', "3\n" * N])
def test_a_damaged_list_of_photographs_is_reported_and_written_again(tmp_path: Path, text: str) -> None:
    names = make(tmp_path).names
    (tmp_path / "photographs.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(FeatureStoreError, match="run the extraction again: it keeps the shards"):
        FeatureStore.open(tmp_path)
    again = Extractor()
    assert make(tmp_path, again).names == names
    assert again.images == 0


def test_the_error_of_a_damaged_description_states_the_remedy(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "store.json").write_text('{"format_version": 7}', encoding="utf-8")
    with pytest.raises(FeatureStoreError, match="remove its directory and extract the features again"):
        make(tmp_path)


def test_shards_without_a_description_are_not_used(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "store.json").unlink()
    with pytest.raises(FeatureStoreMismatchError, match=r"holds shards without store\.json"):
        make(tmp_path)


def test_other_settings_do_not_share_a_directory(tmp_path: Path) -> None:
    make(tmp_path)
    with pytest.raises(FeatureStoreMismatchError, match="Use another directory"):
        make(tmp_path, settings=StoreSettings(pixel_size=16, shard_photographs=4, copies=2))


def test_a_value_that_is_not_finite_names_its_photograph(tmp_path: Path) -> None:
    with pytest.raises(FeatureNotFiniteError, match="whole is not finite") as caught:
        make(tmp_path, Extractor(broken=7))
    assert caught.value.item == "7.jpg"


def test_a_full_disk_keeps_the_finished_shards(tmp_path: Path) -> None:
    make(tmp_path)
    missing = tmp_path / "shard-00001.safetensors"
    missing.unlink()
    half = missing.with_name("shard-00000.safetensors").stat().st_size // 2
    with (
        no_file_beyond(half),
        pytest.raises(FeatureStoreNotWrittenError, match="finished shards are kept") as caught,
    ):
        make(tmp_path)
    assert caught.value.item == str(missing)
    assert not list(tmp_path.glob("*.partial"))
    again = Extractor()
    make(tmp_path, again)
    assert again.images == 3


def test_a_full_disk_at_the_very_start_leaves_nothing_half_written(tmp_path: Path) -> None:
    with no_file_beyond(50), pytest.raises(FeatureStoreNotWrittenError, match="Free some space and run it again"):
        make(tmp_path)
    assert list(tmp_path.iterdir()) == []
    make(tmp_path)


def test_augmented_copies_differ_and_are_the_same_every_time(tmp_path: Path) -> None:
    settings = StoreSettings(shard_photographs=4, copies=3, augmented_size=32)
    store, twin = make(tmp_path / "a", settings=settings), make(tmp_path / "b", settings=settings)
    rows = np.array([9, 9, 9])
    found = store.read_features(rows, ["whole"], np.array([0, 1, 2]))["whole"].values[:, 0, 0]
    assert found[0] == 9
    assert len(set(found.tolist())) == 3
    torch.testing.assert_close(found, twin.read_features(rows, ["whole"], np.arange(3))["whole"].values[:, 0, 0])


def test_pixels_alone_need_no_extractor(tmp_path: Path) -> None:
    store = extract_features(photographs(), ExtractorSet(), lambda _: {}, tmp_path, SETTINGS, lambda _: None)
    assert store.features == ()
    assert store.read_features(np.arange(3)) == {}


def test_what_a_store_does_not_have_is_reported(tmp_path: Path) -> None:
    store = make(tmp_path, settings=StoreSettings(shard_photographs=4))
    with pytest.raises(FeatureStoreError, match="keeps no pixels"):
        store.read_pixels(np.arange(2))
    with pytest.raises(FeatureStoreError, match="no feature other; it has whole, parts"):
        store.read_features(np.arange(2), ["other"])
    with pytest.raises(FeatureStoreError, match="no feature store there"):
        FeatureStore.open(tmp_path / "none")


def test_a_worker_process_opens_it_again(tmp_path: Path) -> None:
    store = make(tmp_path)
    store.read_pixels(np.arange(2))
    twin = pickle.loads(pickle.dumps(store))
    np.testing.assert_array_equal(twin.read_pixels(np.arange(5)), store.read_pixels(np.arange(5)))


def test_a_store_that_was_made_before_the_augmentation_could_be_chosen_keeps_its_key() -> None:
    settings = StoreSettings(pixel_size=16, copies=3, seed=5)
    chosen = settings.model_copy(update={"augmentation": Augmentation()})
    for same in (settings, chosen):
        key = describe_store(photographs(), ExtractorSet(), same).key
        assert key == "420a971e0b7fd14b45b3dff3de49f79acabef25fbcf810ded4e3c0b991303b4e"


@pytest.mark.parametrize("other", [Augmentation(perspective=0.1), Augmentation(min_zoom=0.5), Augmentation(cast=0.0)])
def test_another_augmentation_makes_another_store(other: Augmentation) -> None:
    usual, changed = (
        describe_store(photographs(), ExtractorSet(), StoreSettings(copies=3, augmentation=how)).key
        for how in (Augmentation(), other)
    )
    assert usual != changed


def test_the_chosen_augmentation_makes_the_copies(tmp_path: Path) -> None:
    # Plain grey photographs: only brightness can change them, and here nothing changes it.
    plain = Augmentation(gain=0.0, cast=0.0, erased_share=0.0)
    settings = StoreSettings(shard_photographs=4, copies=3, augmented_size=32, augmentation=plain)
    store = make(tmp_path, settings=settings)
    found = store.read_features(np.array([9, 9, 9]), ["whole"], np.array([0, 1, 2]))["whole"].values[:, 0, 0]
    torch.testing.assert_close(found, torch.full((3,), 9.0), rtol=0, atol=0.1)


def test_the_sample_is_drawn_by_its_seed_from_what_can_be_read(tiny_training: TinyTraining) -> None:
    store = FeatureStore.open(tiny_training.work / "features")
    store.readable[[3, 4]] = False
    rows = sample_readable(store, 20, seed=1)
    assert len(set(rows)) == 20
    assert rows.tolist() == sorted(rows)
    assert not {3, 4} & set(rows.tolist())
    np.testing.assert_array_equal(rows, sample_readable(store, 20, seed=1))
    assert rows.tolist() != sample_readable(store, 20, seed=2).tolist()
    assert len(sample_readable(store, 1000, seed=1)) == len(store) - 2


def test_photographs_have_the_side_of_the_encoder_and_can_be_read_again(
    tiny_training: TinyTraining,
) -> None:
    store = FeatureStore.open(tiny_training.work / "features")
    rows, size = np.arange(len(store))[::-1][:35], Preprocessing(resize="stretch", size=24)
    photographs = CalibrationPhotographs(store, np.concatenate([rows, rows[:3]]), size)
    first, second = list(photographs), list(photographs)
    assert [len(batch) for batch in first] == [32, len(rows) + 3 - 32]
    for batch, again in zip(first, second, strict=True):
        np.testing.assert_array_equal(batch, again)
    for row, found in zip(rows, np.concatenate(first), strict=False):
        np.testing.assert_array_equal(found, preprocess(store.read_pixels(np.asarray([row]))[0], size))
