"""Google Landmarks v2 retrieval from its official files."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.errors import BenchmarkError, GroundTruthError, NothingToScoreError, PhotographListError
from aff_toolkit.evaluation.gldv2 import gldv2_benchmark
from tests.support.images import jpeg_bytes

INDEX = "id\naaa1\nbbb2\nccc3\n"
SOLUTION = "id,images,Usage\nddd1,bbb2 aaa1,Public\neee2,ccc3,Private\nfff3,None,Ignored\n"


def official(directory: Path, *, index: str = INDEX, solution: str = SOLUTION) -> Path:
    (directory / "index.csv").write_text(index)
    (directory / "retrieval_solution_v2.1.csv").write_text(solution)
    for folder in ("index", "test"):
        (directory / folder).mkdir()
    return directory


def test_public_and_private_queries_are_two_setups_and_ignored_ones_are_left_out(tmp_path: Path) -> None:
    benchmark = gldv2_benchmark(official(tmp_path))
    assert [query.name for query in benchmark.queries] == ["ddd1", "eee2"]
    assert [image.name for image in benchmark.gallery] == ["aaa1", "bbb2", "ccc3"]
    assert {judged.setup: judged.members.tolist() for judged in benchmark.judgements} == {
        "public": [True, False],
        "private": [False, True],
    }
    assert [rows.tolist() for rows in benchmark.judgements[0].relevant] == [[0, 1], [2]]


def test_images_are_in_a_tree_of_their_first_three_letters(tmp_path: Path) -> None:
    benchmark = gldv2_benchmark(official(tmp_path))
    for folder, name in (("index", "a/a/a/aaa1.jpg"), ("test", "d/d/d/ddd1.jpg")):
        (tmp_path / folder / name).parent.mkdir(parents=True)
        (tmp_path / folder / name).write_bytes(jpeg_bytes())
    assert benchmark.gallery[0].load().shape == benchmark.queries[0].load().shape == (48, 64, 3)


def test_the_list_of_landmarks_serves_as_index_where_there_is_no_other(tmp_path: Path) -> None:
    official(tmp_path)
    (tmp_path / "index.csv").unlink()
    (tmp_path / "index_image_to_landmark.csv").write_text("id,landmark_id\nccc3,1\nbbb2,1\naaa1,2\n")
    assert [image.name for image in gldv2_benchmark(tmp_path).gallery] == ["ccc3", "bbb2", "aaa1"]


def test_the_ids_of_a_large_landmark_may_be_longer_than_a_csv_field(tmp_path: Path) -> None:
    ids = [f"{number:016x}" for number in range(10_000)]
    solution = f"id,images,Usage\nddd1,{' '.join(ids)},Private\n"
    benchmark = gldv2_benchmark(official(tmp_path, index="id\n" + "\n".join(ids), solution=solution))
    assert len(benchmark.judgements[0].relevant[0]) == 10_000


@pytest.mark.parametrize(
    ("files", "error", "words"),
    [
        ({"index": "name\naaa1\n"}, PhotographListError, "no column id"),
        ({"index": "id\n../x\n"}, PhotographListError, "line 2: '../x' is not the id"),
        ({"solution": "id,images\n"}, PhotographListError, "not 'id,images,Usage'"),
        ({"solution": "id,images,Usage\nddd1,aaa1,Secret\n"}, PhotographListError, "line 2 is not"),
        ({"solution": "id,images,Usage\nddd1,zzz9,Public\n"}, GroundTruthError, "names 'zzz9'"),
        ({"solution": "id,images,Usage\nddd1,,Public\n"}, NothingToScoreError, "setup public"),
        ({"solution": "id,images,Usage\n"}, BenchmarkError, "has no query"),
    ],
)
def test_files_of_another_form_are_reported(
    tmp_path: Path, files: dict[str, str], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        gldv2_benchmark(official(tmp_path, **files))


def test_missing_files_are_reported(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="is not there"):
        gldv2_benchmark(tmp_path)
    official(tmp_path)
    (tmp_path / "index.csv").unlink()
    with pytest.raises(PhotographListError, match=r"index\.csv: cannot be read"):
        gldv2_benchmark(tmp_path)
