"""Features of other programs: forms, rows by name, checks of each number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from aff_toolkit.data.photograph import Photograph, load_photograph_file
from aff_toolkit.errors import FeaturesError, RankingsNotWrittenError
from aff_toolkit.evaluation.given_features import GivenFeatures, read_features, save_names

NAMES = ["a.jpg", "b.jpg", "c.jpg"]
UNIT = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]], np.float32)


def photographs() -> list[Photograph]:
    return [Photograph(name, name, lambda: load_photograph_file(Path("none"))) for name in NAMES]


def values(features: GivenFeatures) -> NDArray[np.float32]:
    return np.concatenate([chunk.embeddings for chunk in features.chunks()])


def npy(directory: Path, array: Any) -> Path:
    np.save(directory / "features.npy", np.asarray(array))
    return directory / "features.npy"


def problem(path: Path, similarity: Any = "cosine") -> str:
    with pytest.raises(FeaturesError) as caught:
        read_features(path, photographs(), similarity)
    assert caught.value.item == str(path)
    return caught.value.detail


def test_unit_vectors_are_used_as_they_are(tmp_path: Path) -> None:
    features = read_features(npy(tmp_path, UNIT), photographs(), "cosine")
    assert not features.normalised
    assert np.array_equal(values(features), UNIT)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8])
def test_other_lengths_and_number_types_are_normalised_for_the_cosine_only(tmp_path: Path, dtype: Any) -> None:
    path = npy(tmp_path, np.array([[3, 4], [5, 0], [0, 7]], dtype))
    features = read_features(path, photographs(), "cosine")
    assert features.normalised
    assert values(features) == pytest.approx(UNIT)
    assert values(read_features(path, photographs(), "inner-product")).tolist() == [[3, 4], [5, 0], [0, 7]]


def test_a_zero_vector_is_a_photograph_that_cannot_be_read_for_the_cosine_only(tmp_path: Path) -> None:
    path = npy(tmp_path, UNIT * [[1], [0], [1]])
    features = read_features(path, photographs(), "cosine")
    assert features.unreadable == {1: "b.jpg: the feature is zero"}
    (chunk,) = features.chunks()
    assert chunk.readable.tolist() == [True, False, True]
    assert not read_features(path, photographs(), "inner-product").unreadable


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_vectors_whose_squares_are_beyond_float32_are_normalised(tmp_path: Path, scale: float) -> None:
    features = read_features(npy(tmp_path, (UNIT * scale).astype(np.float32)), photographs(), "cosine")
    assert not features.unreadable
    assert values(features) == pytest.approx(UNIT)


def test_vectors_whose_inner_products_are_beyond_float32_are_rejected(tmp_path: Path) -> None:
    path = npy(tmp_path, (UNIT * [[1], [1e18], [1e25]]).astype(np.float32))
    assert "row 2 (c.jpg) has a length whose square is not finite in float32" in problem(path, "inner-product")


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_names_of_bytes_are_utf_8(tmp_path: Path, form: str) -> None:
    path, names = tmp_path / f"features.{form}", [name.encode() for name in NAMES[::-1]]
    if form == "npz":
        np.savez(path, features=UNIT[::-1], names=np.array(names))
    else:
        parquet.write_table(pa.table({"features": UNIT[::-1].tolist(), "names": names}), path)
    assert values(read_features(path, photographs(), "cosine")).tolist() == UNIT.tolist()


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_rows_with_names_are_found_by_name_and_others_are_ignored(tmp_path: Path, form: str) -> None:
    order = [2, 0, 1]
    rows = np.concatenate([np.ones((1, 2), np.float32), UNIT[order]])
    names = ["other.jpg", *(NAMES[row] for row in order)]
    path = tmp_path / f"features.{form}"
    if form == "npz":
        np.savez(path, embeddings=rows, ids=np.array(names))
    else:
        parquet.write_table(pa.table({"path": names, "embedding": rows.tolist()}), path)
    features = read_features(path, photographs(), "inner-product")
    assert values(features).tolist() == UNIT.tolist()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (UNIT[:2], "2 rows, and the benchmark has 3 photographs"),
        (UNIT[0], "float32 of the shape (2,)"),
        (np.zeros((3, 0), np.float32), "of the shape (3, 0)"),
        (np.array([["a", "b"]] * 3), "<U1 of the shape (3, 2)"),
        (UNIT.astype(complex), "complex128"),
        ([[0.6, 0.8], [np.nan, 0], [0, 1]], "row 1 (b.jpg) has a number that is not finite"),
        ([[0.6, 0.8], [1, 0], [0, 1e300]], "row 2 (c.jpg) has a number that is not finite in float32"),
    ],
)
@pytest.mark.parametrize("similarity", ["cosine", "inner-product"])
def test_unusable_numbers_are_reported(tmp_path: Path, array: Any, words: str, similarity: str) -> None:
    assert words in problem(npy(tmp_path, array), similarity)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"features": UNIT, "names": np.array([*NAMES[:2], "d.jpg"])}, "1 of the benchmark's 3 names are missing"),
        ({"features": UNIT, "names": np.array(["a.jpg", "b.jpg", "a.jpg"])}, "contains the name 'a.jpg' twice"),
        ({"features": UNIT, "names": np.array(NAMES[:2])}, "2 names for 3 features"),
        ({"x": UNIT}, "has no array features or"),
        ({"features": UNIT.astype(object)}, "cannot be read"),
    ],
)
def test_unusable_names_are_reported(tmp_path: Path, arrays: Any, words: str) -> None:
    np.savez(tmp_path / "features.npz", **arrays)
    assert words in problem(tmp_path / "features.npz")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"embedding": [[1.0, 0.0], [1.0], None]}, "not every row has a list of the same length"),
        ({"embedding": [1.0, 2.0, 3.0]}, "not every row has a list of the same length"),
        ({"x": [[1.0]]}, "has no column features or"),
    ],
)
def test_unusable_columns_are_reported(tmp_path: Path, columns: Any, words: str) -> None:
    parquet.write_table(pa.table(columns), tmp_path / "features.parquet")
    assert words in problem(tmp_path / "features.parquet")


@pytest.mark.parametrize("name", ["features.npy", "features.npz", "features.parquet"])
@pytest.mark.parametrize("content", [b"", b"text", None])
def test_what_is_not_a_file_of_its_form_is_reported(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    detail = problem(tmp_path / name)
    assert "cannot be read" in detail
    assert "pickle" not in detail  # numpy would advise to trust it


def test_pickled_objects_are_rejected_and_other_suffixes_too(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", np.array([{}, {}, {}]), allow_pickle=True)
    assert "cannot be read" in problem(tmp_path / "features.npy")
    assert problem(tmp_path / "features.txt") == "is neither .npy nor .npz nor .parquet"


def test_names_that_cannot_be_written_are_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RankingsNotWrittenError):
        save_names(photographs(), tmp_path / "file" / "gallery.txt")
