"""Which files are photographs, and how their names are written."""

from __future__ import annotations

import re

from aff_shared.errors import AffError

IMAGE_SUFFIXES = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo"),
        *(".png", ".apng", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
        *(".heic", ".heif", ".hif"),
    }
)
_SUFFIXES = tuple(IMAGE_SUFFIXES)

# What systems put among photographs, in lower case: Windows, macOS, Linux, Synology, QNAP.
_SYSTEM_NAMES = frozenset(
    {
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),
        *("__macosx", "lost+found", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot"),
    }
)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


class FolderError(AffError):
    """A folder of photographs cannot be used."""

    code = "folder_unusable"
    status = 422
    title = "Unusable folder"


def is_image_name(name: str) -> bool:
    """Say whether a file name has the suffix of an image format."""
    return name.lower().endswith(_SUFFIXES)


def is_hidden(path: str) -> bool:
    """Say whether a part of a path is a hidden name, or one that a system puts among photographs.

    Hidden names begin with a dot: `._IMG_1.jpg`, `.thumbnails`, `.Trash-1000`.
    """
    return any(
        (part.startswith(".") and part not in {".", ".."}) or part.lower() in _SYSTEM_NAMES for part in path.split("/")
    )


def encodable(name: str) -> str:
    r"""Write the bytes of a file name that are not UTF-8, and control characters, as escapes such as `\xe9`."""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of UTF-16 pairs, which no file system has
        text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return _CONTROLS.sub(lambda control: "".join(f"\\x{byte:02x}" for byte in control[0].encode()), text)


def with_escapes_undone(name: str) -> str:
    """Return the file name that `encodable` wrote, with surrogate escapes for bytes that are not UTF-8."""
    pieces = _ESCAPED.split(name)
    pieces[1::2] = [bytes.fromhex(digits).decode("utf-8", "surrogateescape") for digits in pieces[1::2]]
    return "".join(pieces)
