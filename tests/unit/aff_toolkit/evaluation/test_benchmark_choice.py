"""A benchmark is opened by name, with what it needs and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.errors import BenchmarkError, NothingToScoreError, PhotographListError
from aff_toolkit.evaluation.benchmark import Benchmark, protocol_benchmark
from aff_toolkit.evaluation.benchmark_choice import BenchmarkChoice
from aff_toolkit.evaluation.protocols import Protocol
from tests.support.plain_photograph import plain_png


def relevant_of(benchmark: Benchmark) -> list[list[int]]:
    return [rows.tolist() for rows in benchmark.judgements[0].relevant]


def ignored_of(benchmark: Benchmark) -> list[list[int]]:
    return [rows.tolist() for rows in benchmark.judgements[0].ignored]


def photographs(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(plain_png((9, 9, 9)))


def test_scenes_are_rendered_without_a_path() -> None:
    benchmark = BenchmarkChoice(name="scenes", instances=2).open()
    assert (len(benchmark.queries), len(benchmark.gallery)) == (4, 2 * 6 + 2 * 8)
    assert relevant_of(benchmark) == [list(range(6)), list(range(6)), list(range(6, 12)), list(range(6, 12))]
    assert "2 landmarks x 2 queries and 6 gallery views, 16 distractors" in benchmark.description


def test_a_csv_file_returns_queries_gallery_and_distractors(tmp_path: Path) -> None:
    rows = ["q.png,pear,query", "r.png,plum,query", "a.png,apple,distractor", "b.png,pear,gallery", "t.png,pear,train"]
    (tmp_path / "set.csv").write_text("path,instance,role\n" + "\n".join(rows))
    benchmark = BenchmarkChoice(name="csv", path=tmp_path / "set.csv").open()
    assert [photograph.name for photograph in benchmark.gallery] == ["a.png", "b.png"]
    assert relevant_of(benchmark) == [[1], []]


def test_a_csv_file_may_list_positives_and_junk(tmp_path: Path) -> None:
    rows = ["q.png,walk,query,b.png,c.png", "a.png,walk,gallery,,", "b.png,walk,gallery,,", "c.png,walk,gallery,,"]
    (tmp_path / "set.csv").write_text("path,instance,role,positives,junk\n" + "\n".join(rows))
    benchmark = BenchmarkChoice(name="csv", path=tmp_path / "set.csv").open()
    assert (relevant_of(benchmark), ignored_of(benchmark)) == ([[1]], [[2]])
    assert benchmark.description.endswith("positives and junk as the file lists them; whole image")


def test_a_csv_file_without_the_columns_is_reported(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("file,label\na.png,x\n")
    with pytest.raises(PhotographListError, match="no column instance, path, role"):
        BenchmarkChoice(name="csv", path=tmp_path / "set.csv").open()


def test_a_folder_of_queries_and_gallery_pairs_equal_subfolders(tmp_path: Path) -> None:
    photographs(tmp_path, "queries/pear/1.png", "gallery/apple/1.png", "gallery/pear/2.png", "gallery/pear/3.png")
    benchmark = BenchmarkChoice(name="folder", path=tmp_path).open()
    assert relevant_of(benchmark) == [[1, 2]]
    assert ignored_of(benchmark) == [[]]


def test_any_other_folder_leaves_each_photograph_out_of_its_gallery(tmp_path: Path) -> None:
    photographs(tmp_path, "apple/1.png", "pear/1.png", "pear/2.png", "pear/3.png")
    benchmark = BenchmarkChoice(name="folder", path=tmp_path).open()
    assert [photograph.name for photograph in benchmark.queries] == ["pear/1.png", "pear/2.png", "pear/3.png"]
    assert relevant_of(benchmark) == [[2, 3], [1, 3], [1, 2]]
    assert ignored_of(benchmark) == [[1], [2], [3]]


def test_a_folder_of_single_photographs_leaves_nothing_to_score(tmp_path: Path) -> None:
    photographs(tmp_path, "apple/1.png", "pear/1.png")
    with pytest.raises(NothingToScoreError, match="no instance has two photographs"):
        BenchmarkChoice(name="folder", path=tmp_path).open()


def test_queries_without_any_positive_leave_nothing_to_score(tmp_path: Path) -> None:
    photographs(tmp_path, "queries/pear/1.png", "gallery/apple/1.png")
    with pytest.raises(NothingToScoreError, match="no query has a positive"):
        BenchmarkChoice(name="folder", path=tmp_path).open()


def test_an_empty_gallery_is_rejected() -> None:
    queries = list(BenchmarkChoice(name="scenes", instances=1).open().queries)
    with pytest.raises(BenchmarkError):
        protocol_benchmark(Protocol("none", "nothing", queries, []))
    with pytest.raises(BenchmarkError, match="has no query"):
        Benchmark("none", "nothing", "mean_precision", [], queries, ())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "csv"}, "needs the path"),
        ({"name": "scenes", "path": "x"}, "takes no path"),
        ({"name": "gldv2", "path": "x", "distractors": "y"}, "takes no folder of distractors"),
    ],
)
def test_what_has_no_effect_on_a_benchmark_is_rejected(options: dict[str, str], words: str) -> None:
    with pytest.raises(BenchmarkError, match=words):
        BenchmarkChoice.model_validate(options).open()


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({"name": "scenes", "instances": 7}, "scenes-7"),
        ({"name": "csv", "path": "lists/open_set.csv"}, "csv-open_set"),
        ({"name": "folder", "path": "my/photographs"}, "folder-photographs"),
        ({"name": "roxford5k", "path": "x"}, "roxford5k"),
        ({"name": "roxford5k", "path": "x", "distractors": "y"}, "roxford5k-distractors"),
    ],
)
def test_choices_are_distinguished_by_their_labels(options: dict[str, str], label: str) -> None:
    assert BenchmarkChoice.model_validate(options).label == label
