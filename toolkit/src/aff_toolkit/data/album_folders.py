"""Folders whose names are no labels: albums, sorted by date or by the camera."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_YEAR = r"(?:19|20)\d\d"
_MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sep(?:t(?:ember)?)?|oct(?:ober)?|"
    r"nov(?:ember)?|dec(?:ember)?"
)
_DATES = re.compile(
    rf"(?<!\d){_YEAR}(?!\d)"  # 2019; 2019-05-03; Photos from 2019
    rf"|(?<!\d){_YEAR}(?:0[1-9]|1[0-2])(?:[0-3]\d)?(?!\d)"  # 201905; 20190503
    r"|(?<!\d)[0-3]?\d[.\-_ ][0-3]?\d[.\-_ ]\d\d(?!\d)"  # 3.5.19
    rf"|^(?:{_MONTH})(?![a-z])"  # May; May 3rd
    r"|^dcim$|^camera(?: roll)?$|(?-i:^\d{3}(?=\d*[A-Z_])[A-Z0-9_]{5}$)",  # 100CANON, as cameras name folders (DCF)
    re.IGNORECASE,
)
_DATED_SHARE = 0.5
_FEW = 10
_MANY_EACH = 30


def look_like_albums(images: Mapping[str, int]) -> bool:
    """Tell whether subfolders look like albums rather than like a folder per thing.

    They do where at least half of them are named after dates or by a camera, or where there are fewer than 10 of them
    with 30 images and more each, by the mean.

    Args:
        images: Number of image files by the path of the folder that they lie in.
    """
    if not images:
        return False
    dated = sum(_is_dated(folder.split("/")) for folder in images)
    few_and_large = len(images) < _FEW and sum(images.values()) >= _MANY_EACH * len(images)
    return dated >= _DATED_SHARE * len(images) or few_and_large


def _is_dated(parts: Iterable[str]) -> bool:
    return any(_DATES.search(part) is not None for part in parts)
