"""The retrieval benchmark of Google Landmarks v2 (Weyand et al., CVPR 2020), from its official files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from aff_toolkit.data.photograph import Photograph, load_below
from aff_toolkit.errors import BenchmarkError, GroundTruthError, PhotographListError
from aff_toolkit.evaluation.benchmark import Benchmark, Judgements
from aff_toolkit.evaluation.relevance import Ragged

INDEX_CSVS = ("index.csv", "index_image_to_landmark.csv")
SOLUTION_CSV = "retrieval_solution_v2.1.csv"

_SOLUTION_COLUMNS = ["id", "images", "Usage"]
_SETUPS = ("public", "private")
_SHORTEST_ID = 3

Usage = Literal["public", "private", "ignored"]


@dataclass(frozen=True, slots=True)
class _Query:
    image: str
    positives: list[str]
    usage: Usage


def gldv2_benchmark(directory: Path, *, min_side: int | None = None, images: bool = True) -> Benchmark:
    """Return the benchmark with its setups `public` and `private`; ignored queries are left out.

    Args:
        directory: Holds `index.csv` or `index_image_to_landmark.csv` (column id), `retrieval_solution_v2.1.csv`
            (columns id, images, Usage), and the folders `index` and `test`, in which the path of the
            image abcdef is a/b/c/abcdef.jpg.
        min_side: See load_photograph_file.
        images: Whether the folders have to exist.

    Raises:
        PhotographListError: A file cannot be read, or is not of that form.
        GroundTruthError: The solution names an image that the index does not have.
        BenchmarkError: A folder of images is missing; NothingToScoreError: a setup has no positive.
    """
    for folder in ("index", "test") if images else ():
        if not (directory / folder).is_dir():
            raise BenchmarkError("is not there; it holds the tree of images a/b/c/id.jpg", item=str(directory / folder))
    gallery = list(_index_ids(_index_csv(directory)))
    solution = directory / SOLUTION_CSV
    queries = [query for query in _solution(solution) if query.usage != "ignored"]
    relevant = _relevant(queries, gallery, solution)
    nothing = Ragged.of([np.zeros(0, np.int64)] * len(queries))
    return Benchmark(
        name="gldv2",
        description=f"Google Landmarks v2 retrieval, {SOLUTION_CSV}; whole image",
        rule="mean_precision",
        queries=_photographs([query.image for query in queries], directory / "test", min_side),
        gallery=_photographs(gallery, directory / "index", min_side),
        judgements=tuple(
            Judgements(setup, relevant, nothing, np.array([query.usage == setup for query in queries], np.bool_))
            for setup in _SETUPS
            if any(query.usage == setup for query in queries)
        ),
    )


def _photographs(ids: list[str], folder: Path, min_side: int | None) -> list[Photograph]:
    root = str(folder)
    return [Photograph(i, i, partial(load_below, root, f"{i[0]}/{i[1]}/{i[2]}/{i}.jpg", min_side)) for i in ids]


def _relevant(queries: list[_Query], gallery: list[str], solution: Path) -> Ragged:
    rows = {image: row for row, image in enumerate(gallery)}
    try:
        return Ragged.of(np.unique(np.array([rows[i] for i in query.positives], np.int64)) for query in queries)
    except KeyError as error:
        raise GroundTruthError(f"names {error}, which the index does not have", item=str(solution)) from error


def _index_csv(directory: Path) -> Path:
    return next((directory / name for name in INDEX_CSVS if (directory / name).exists()), directory / INDEX_CSVS[0])


def _index_ids(path: Path) -> Iterator[str]:
    lines = _lines(path)
    header = next(lines, (0, ""))[1].split(",")
    if "id" not in header:
        raise PhotographListError(f"no column id: the first line is {','.join(header)!r}", item=str(path))
    place = header.index("id")
    for number, line in lines:
        fields = line.split(",")
        yield _id(fields[place] if place < len(fields) else "", number, path)


def _solution(path: Path) -> Iterator[_Query]:
    # Not the csv module: the list of ids of a large landmark is longer than the longest field that it reads.
    lines = _lines(path)
    header = next(lines, (0, ""))[1].split(",")
    if header != _SOLUTION_COLUMNS:
        wanted = ",".join(_SOLUTION_COLUMNS)
        raise PhotographListError(f"the first line is {','.join(header)!r}, not {wanted!r}", item=str(path))
    for number, line in lines:
        fields = line.split(",")
        usage = _usage(fields[-1])
        if len(fields) != len(_SOLUTION_COLUMNS) or usage is None:
            raise PhotographListError(f"line {number} is not id,images,Public|Private|Ignored", item=str(path))
        positives = [] if usage == "ignored" else fields[1].strip('"').split()
        yield _Query(_id(fields[0], number, path), positives, usage)


def _usage(text: str) -> Usage | None:
    known: dict[str, Usage] = {"Public": "public", "Private": "private", "Ignored": "ignored"}
    return known.get(text)


def _id(text: str, number: int, path: Path) -> str:
    if len(text) < _SHORTEST_ID or not text.isalnum():
        raise PhotographListError(f"line {number}: {text!r} is not the id of an image", item=str(path))
    return text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of each line that is not blank."""
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.strip()
    except OSError as error:
        raise PhotographListError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except UnicodeDecodeError as error:
        raise PhotographListError(f"is not a CSV file in UTF-8: {error}", item=str(path)) from error
