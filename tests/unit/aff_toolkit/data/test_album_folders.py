"""Which subfolders look like albums."""

from __future__ import annotations

import pytest

from aff_toolkit.data.album_folders import look_like_albums


@pytest.mark.parametrize(
    "names",
    [
        ("2018", "2019"),
        ("2018-05-03", "2018-07-19 Rome"),
        ("Photos from 2019", "Photos from 2020", "Untitled"),
        ("20180503", "20180504"),
        ("201805", "201806"),
        ("3.5.19", "12-11-19"),
        ("May", "June 3rd", "sept"),
        ("2018/rome", "2018/oslo", "2019/home"),
        ("100CANON", "101CANON"),
        ("DCIM", "Camera"),
    ],
)
def test_folders_named_after_dates_or_by_a_camera_do(names: tuple[str, ...]) -> None:
    assert look_like_albums(dict.fromkeys(names, 3))


@pytest.mark.parametrize(
    "names",
    [
        ("tower", "bridge"),
        ("500", "501", "1"),
        ("00012345", "00012346"),
        ("12345678", "23456789"),
        ("mayonnaise", "marmalade", "decanter"),
        ("jar 2019", "lamp", "chair"),
        ("fruit/apple", "fruit/pear"),
    ],
)
def test_folders_named_after_things_or_numbers_do_not(names: tuple[str, ...]) -> None:
    assert not look_like_albums(dict.fromkeys(names, 3))


def test_few_folders_of_many_images_each_do_and_many_folders_do_not() -> None:
    assert look_like_albums({"rome": 200, "home": 40, "work": 31})
    assert not look_like_albums({"rome": 20, "home": 40, "work": 29})
    assert not look_like_albums({str(number): 100 for number in range(10)})
    assert not look_like_albums({})
