"""Which files are photographs."""

from __future__ import annotations

from aff_contracts.errors import AffError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff", ".heic", ".heif"}
)


class FolderError(AffError):
    """A folder of photographs cannot be used."""

    code = "folder_unusable"
    status = 422
    title = "Unusable folder"


def is_image_name(name: str) -> bool:
    """Say whether a file name has the suffix of an image format."""
    return any(name.lower().endswith(suffix) for suffix in IMAGE_SUFFIXES)


def encodable(name: str) -> str:
    """Write the bytes of a file name that are no UTF-8 as escapes; different names stay different."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
