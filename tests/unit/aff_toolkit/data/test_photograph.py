"""Files that are not images: rejected before anything is read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import pytest

from aff_shared.errors import ImageTooManyBytesError, InvalidParameterError
from aff_toolkit.data.photograph import (
    Photograph,
    PhotographUnreadableError,
    read_photograph,
    single_image_instances,
    without_single_images,
)
from aff_toolkit.errors import TooFewImagesError


def test_a_file_within_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "5")
    (tmp_path / "a.jpg").write_bytes(b"12345")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    assert read_photograph(tmp_path / "link.jpg") == b"12345"
    (tmp_path / "a.jpg").write_bytes(b"123456")
    with pytest.raises(ImageTooManyBytesError, match="6 bytes, more than the 5 bytes of AFF_MAX_IMAGE_BYTES"):
        read_photograph(tmp_path / "a.jpg")


def test_a_huge_file_is_rejected_by_its_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse.jpg").open("wb") as file:
        file.truncate(2**35)
    with pytest.raises(ImageTooManyBytesError, match="34,359,738,368 bytes"):
        read_photograph(tmp_path / "sparse.jpg")


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a device", "folder", "missing", "loop"])
def test_what_is_not_a_regular_file_is_rejected_without_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = Path("x.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            server.bind(str(path))
        elif kind == "device":
            path = Path("/dev/zero")
        elif kind == "link to a device":
            path.symlink_to("/dev/zero")
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        with pytest.raises(PhotographUnreadableError, match=r"cannot be read: [^\[]") as caught:
            read_photograph(path)
    assert caught.value.item == str(path)


@pytest.mark.skipif(not Path("/proc/kallsyms").exists(), reason="needs a file that hides its size")
def test_a_file_that_hides_its_size_is_read_to_the_limit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "10")
    with pytest.raises(ImageTooManyBytesError, match="more than the 10 bytes"):
        read_photograph(Path("/proc/kallsyms"))


def test_a_limit_that_is_not_a_number_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFF_MAX_IMAGE_BYTES", "32 MiB")
    with pytest.raises(InvalidParameterError, match="AFF_MAX_IMAGE_BYTES"):
        read_photograph(tmp_path / "a.jpg")


def photographs(*instances: str) -> list[Photograph]:
    return [Photograph(str(i), name, lambda: np.zeros((1, 1, 3), np.uint8)) for i, name in enumerate(instances)]


def test_instances_of_one_image_are_found_and_left_out() -> None:
    assert single_image_instances(["b", "a", "b", "c"]) == ["a", "c"]
    kept, left_out = without_single_images(photographs("b", "a", "b", "c"))
    assert [photograph.name for photograph in kept] == ["0", "2"]
    assert left_out == ["a", "c"]


def test_labels_that_never_repeat_are_rejected() -> None:
    with pytest.raises(TooFewImagesError, match="none of the 3 instances"):
        without_single_images(photographs("a", "b", "c"))
