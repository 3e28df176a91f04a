"""Rankings that other programs computed, or that follow from their features, stored like those of a bundle."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from aff_toolkit.errors import FeaturesError, RankingsError
from aff_toolkit.evaluation.benchmark import Benchmark
from aff_toolkit.evaluation.evaluation_record import Bar, EvaluationConfig, EvaluationRecord, rankings_path
from aff_toolkit.evaluation.given_features import read_features
from aff_toolkit.evaluation.rankings import NOT_RANKED, Rankings, search_exactly, write_rankings

_Image = int | str
_LISTS: TypeAdapter[list[list[_Image]] | dict[str, list[_Image]]] = TypeAdapter(
    list[list[_Image]] | dict[str, list[_Image]]
)
_UNKNOWN = "which is not in the gallery"
_NOT_LISTS = "is neither a list of rankings nor an object with a ranking by the name of each query"


def read_given_rankings(path: Path, benchmark: Benchmark, depth: int) -> Rankings:
    """Read rankings: gallery images of each query, best first.

    Args:
        path: `.npy` with (Q, k) integers, gallery rows from 0, with -1 behind the last one; or `.json` with a list of Q
            lists of gallery rows or names, or an object with such a list by the name of each query. Images that a
            ranking does not contain count as not found.
        benchmark: Q queries and the gallery.
        depth: Gallery images kept per ranking, in addition to the ranks of the labelled ones.

    Raises:
        RankingsError: The file is missing or of another form, has rankings of another number of queries, a row beyond
            the gallery, a name that is unknown or that several rows have, or an image twice in a ranking.
    """
    readers: dict[str, Callable[[Path, Benchmark], Sequence[NDArray[Any]]]] = {".npy": _npy_lists, ".json": _json_lists}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise RankingsError("is neither .npy nor .json", item=str(path))
    lists = read(path, benchmark)
    gallery = len(benchmark.gallery)
    rows = np.full((len(lists), min(depth, max(map(len, lists), default=0))), NOT_RANKED, np.int64)
    labelled = benchmark.labelled()
    ranks = np.full(len(labelled.values), NOT_RANKED, np.int64)
    for query, padded in enumerate(lists):
        ranking = _without_padding(padded)
        _require_usable(ranking, gallery, benchmark.queries[query].name, path)
        kept = ranking[: rows.shape[1]]
        rows[query, : len(kept)] = kept
        rank_of = np.full(gallery, NOT_RANKED, np.int64)
        rank_of[ranking] = np.arange(len(ranking))
        ranks[labelled.place(query)] = rank_of[labelled[query]]
    return Rankings(rows, np.full(rows.shape, np.nan, np.float32), labelled, labelled.with_values(ranks))


def _npy_lists(path: Path, benchmark: Benchmark) -> Any:
    queries = len(benchmark.queries)
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise RankingsError(f"cannot be read: {error}", item=str(path)) from error
    if array.ndim != 2 or array.dtype.kind not in "iu":  # noqa: PLR2004 - a matrix
        raise RankingsError(f"is {array.dtype} {array.shape}, not integers (queries, ranks)", item=str(path))
    if len(array) != queries:
        hint = "; the columns are the queries: transpose it" if array.shape[1] == queries else ""
        raise RankingsError(f"has {len(array):,} rows for {queries:,} queries{hint}", item=str(path))
    return array


def _without_padding(ranking: NDArray[Any]) -> NDArray[Any]:
    ranking = np.asarray(ranking)  # not a memory map
    last = np.flatnonzero(ranking != NOT_RANKED)
    return ranking[: int(last[-1]) + 1 if len(last) else 0]


def _json_lists(path: Path, benchmark: Benchmark) -> list[NDArray[Any]]:
    try:
        given = _LISTS.validate_json(path.read_bytes(), strict=True)
    except OSError as error:
        raise RankingsError(f"cannot be read: {error.strerror}", item=str(path)) from error
    except ValidationError as error:
        raise RankingsError(_NOT_LISTS, item=str(path)) from error
    queries = [query.name for query in benchmark.queries]
    if isinstance(given, dict):
        missing = next((name for name in queries if name not in given), None)
        if missing is not None:
            raise RankingsError(f"has no ranking of the query {missing!r}", item=str(path))
        given = [given[name] for name in queries]
    if len(given) != len(queries):
        raise RankingsError(f"has {len(given):,} rankings for {len(queries):,} queries", item=str(path))
    place, repeated = _places(benchmark)
    try:
        return [np.array([place[i] if isinstance(i, str) else i for i in one], np.int64) for one in given]
    except KeyError as error:
        fault = "which several rows of the gallery have: use rows" if error.args[0] in repeated else _UNKNOWN
        raise RankingsError(f"contains {error}, {fault}", item=str(path)) from error
    except OverflowError as error:
        raise RankingsError("contains a number of more than 64 bits", item=str(path)) from error


def _places(benchmark: Benchmark) -> tuple[dict[str, int], set[str]]:
    """Return the rows of the gallery by their names, and the names that several of them have."""
    place = {image.name: row for row, image in enumerate(benchmark.gallery)}
    repeated = {image.name for row, image in enumerate(benchmark.gallery) if place[image.name] != row}
    return {name: row for name, row in place.items() if name not in repeated}, repeated


def _require_usable(ranking: NDArray[Any], gallery: int, query: str, path: Path) -> None:
    beyond = ranking[(ranking < 0) | (ranking >= gallery)]
    if len(beyond):
        detail = f"query {query!r}: row {beyond[0]}, and the gallery has the rows 0 to {gallery - 1}"
        raise RankingsError(detail, item=str(path))
    values, counts = np.unique(ranking, return_counts=True)
    if len(values) < len(ranking):
        raise RankingsError(f"query {query!r}: row {values[counts > 1][0]} is in the ranking twice", item=str(path))


def export_given(
    config: EvaluationConfig, paths: Sequence[Path], directory: Path | None, bar: Bar
) -> tuple[Path, list[str]]:
    """Store the rankings of a file, or those by features, as those of a bundle's mode.

    Args:
        config: Benchmark, what is given, depth and similarity.
        paths: Features of the gallery and of the queries (see read_features), or one file of rankings (see
            read_given_rankings).
        directory: Directory of the evaluation; None for one in `out/evaluate`, named after benchmark and files.
        bar: Shows progress.

    Returns:
        The directory, and what was done to the features, for the user.

    Raises:
        FeaturesError: See read_features; or the dimensions differ.
        BenchmarkError: The benchmark cannot be used.
        RankingsError: See read_given_rankings; or the directory contains another evaluation, or cannot be written.
    """
    benchmark = config.benchmark.open(images=False)
    digest = _digest(paths, FeaturesError if config.given == "features" else RankingsError)
    directory = directory or Path("out/evaluate") / f"{config.benchmark.label}-{paths[0].stem}-{digest[:8]}"
    dimension, notes = 0, list[str]()
    if config.given == "features":
        rankings, dimension, notes = _rank(config, benchmark, paths, bar)
    else:
        rankings = read_given_rankings(paths[0], benchmark, config.depth)
    name = " and ".join(path.name for path in paths)
    record = EvaluationRecord.of_files(config, name, digest, benchmark, dimension=dimension)
    record.begin(directory)
    write_rankings(rankings_path(directory, config.given or "rankings"), rankings, record.key)
    return directory, notes


def _rank(
    config: EvaluationConfig, benchmark: Benchmark, paths: Sequence[Path], bar: Bar
) -> tuple[Rankings, int, list[str]]:
    """Return the rankings by given features, the dimension, and which files were normalised."""
    parts = (benchmark.gallery, benchmark.queries)
    read = [read_features(path, part, config.similarity) for path, part in zip(paths, parts, strict=True)]
    gallery, queries = read
    if queries.dimension != gallery.dimension:
        detail = f"{queries.dimension} dimensions, and {paths[0]} has {gallery.dimension}"
        raise FeaturesError(detail, item=str(paths[1]))
    start = time.perf_counter()
    with bar("given features: search", queries.count) as advance:
        rankings = search_exactly(queries, gallery, benchmark.labelled(), config.depth, advance)
    rankings.seconds["search"] = time.perf_counter() - start
    done = zip(paths, read, strict=True)
    notes = [f"{path}: normalised to unit length" for path, features in done if features.normalised]
    return rankings, gallery.dimension, notes


def _digest(paths: Sequence[Path], failure: type[FeaturesError | RankingsError]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise failure(f"cannot be read: {error.strerror}", item=str(path)) from error
    return digest.hexdigest()
