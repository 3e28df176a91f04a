from __future__ import annotations

import os
from pathlib import Path

import pytest

from aff_shared.errors import AffError
from gallery_indexer.indexing.index_task import UploadedImage
from gallery_indexer.remote.remote_image_loader import RemoteImageLoader

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _named(root: Path | None, *, max_request_bytes: int = 1000) -> RemoteImageLoader:
    return RemoteImageLoader(None, root, max_image_bytes=100, max_request_bytes=max_request_bytes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a source directory next to files that must not be accessible."""
    root = tmp_path / "sources"
    (root / "a").mkdir(parents=True)
    (root / "a" / "photo.jpg").write_bytes(b"photo")
    (root / "large.jpg").write_bytes(b"x" * 101)
    (root / "inside.jpg").symlink_to(root / "a" / "photo.jpg")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "outside.jpg").symlink_to(tmp_path / "secret.jpg")
    (root / "elsewhere").symlink_to(tmp_path)
    (root / "loop.jpg").symlink_to(root / "loop.jpg")
    os.mkfifo(root / "pipe.jpg")
    return root


async def _fetch(named: RemoteImageLoader, *paths: str) -> list[bytes | str]:
    images = [UploadedImage(data=None, name=path, path=path) for path in paths]
    found: list[bytes | str] = []
    for image in await named.fetch(images):
        assert image.data is not None
        found.append(image.data.code if isinstance(image.data, AffError) else image.data)
    return found


async def test_a_path_below_the_directory_is_read(root: Path) -> None:
    assert await _fetch(_named(root), "a/photo.jpg", "inside.jpg", "a/../a/photo.jpg") == [b"photo"] * 3


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../secret.jpg", "image_source_refused"),
        ("outside.jpg", "image_source_refused"),
        ("elsewhere/secret.jpg", "image_source_refused"),
        ("/etc/passwd", "image_source_refused"),
        ("none.jpg", "image_unreachable"),
        ("a", "image_unreachable"),
        ("pipe.jpg", "image_unreachable"),
        ("loop.jpg", "image_unreachable"),
        ("nul\0.jpg", "image_unreachable"),
        ("large.jpg", "image_too_many_bytes"),
    ],
)
async def test_a_path_that_cannot_be_read_fails_alone(root: Path, path: str, code: str) -> None:
    assert await _fetch(_named(root), path, "a/photo.jpg") == [code, b"photo"]


async def test_a_request_takes_no_more_bytes_than_its_body_might_have_had(root: Path) -> None:
    found = await _fetch(_named(root, max_request_bytes=12), *["a/photo.jpg"] * 3)
    assert sorted(map(str, found)) == ["b'photo'", "b'photo'", "image_too_many_bytes"]


async def test_a_source_that_is_not_allowed_is_rejected_with_the_name_of_the_setting() -> None:
    images = [
        UploadedImage(data=None, path="a.jpg", name="a.jpg"),
        UploadedImage(data=None, url="https://photos.example/a.jpg", name="url"),
        UploadedImage(data=b"sent"),
    ]
    path, url, sent = await _named(None).fetch(images)
    assert isinstance(path.data, AffError)
    assert isinstance(url.data, AffError)
    assert (path.data.item, "AFF_INDEX_SOURCE_ROOT" in path.data.detail) == ("a.jpg", True)
    assert (url.data.item, "AFF_INDEX_URL_SOURCES" in url.data.detail) == ("url", True)
    assert sent.data == b"sent"
