"""The training set of Google Landmarks v2: the official `train_clean.csv` and its tree of images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from aff_toolkit.data.photograph import Photograph, load_below
from aff_toolkit.errors import PhotographListError

_COLUMNS = ["landmark_id", "images"]
_ID = re.compile(r"[0-9A-Za-z_-]{3,}")


def gldv2_photographs(train_clean_csv: Path, image_root: Path, *, min_side: int | None = None) -> list[Photograph]:
    """Return the photographs of the cleaned training set, landmark by landmark (Weyand et al., CVPR 2020).

    Args:
        train_clean_csv: The official file: columns landmark_id, and images with ids between spaces.
        image_root: Folder of the official tree, in which the path of the image abcdef is a/b/c/abcdef.jpg.
        min_side: See load_photograph_file.

    Raises:
        PhotographListError: The file cannot be read, or is not of that form.
    """
    root = str(image_root)
    try:
        with train_clean_csv.open(encoding="utf-8") as stream:
            photographs = [
                Photograph(name, landmark, partial(load_below, root, name, min_side))
                for landmark, images in _landmarks(stream, train_clean_csv)
                for name in (f"{image[0]}/{image[1]}/{image[2]}/{image}.jpg" for image in images)
            ]
    except OSError as error:
        raise PhotographListError(f"cannot be read: {error.strerror}", item=str(train_clean_csv)) from error
    except UnicodeDecodeError as error:
        raise PhotographListError(f"is not a CSV file in UTF-8: {error}", item=str(train_clean_csv)) from error
    if not photographs:
        raise PhotographListError("no rows", item=str(train_clean_csv))
    return photographs


def _landmarks(lines: Iterator[str], path: Path) -> Iterator[tuple[str, list[str]]]:
    # Not the csv module: the list of ids of a large landmark is longer than the longest field that it reads.
    header = next(lines, "").strip().split(",")
    if header != _COLUMNS:
        raise PhotographListError(f"the first line is {','.join(header)!r}, not {','.join(_COLUMNS)!r}", item=str(path))
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        landmark, _, images = line.strip().partition(",")
        ids = images.strip('"').split()
        wrong = next((image for image in ids if not _ID.fullmatch(image)), None)
        if not landmark or not ids or wrong is not None:
            found = f"{wrong!r} is not the id of an image" if wrong else "no landmark or no images"
            raise PhotographListError(f"line {number}: {found}", item=str(path))
        yield landmark, ids
