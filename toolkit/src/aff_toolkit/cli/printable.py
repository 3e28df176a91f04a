"""Text as a terminal may show it."""

from __future__ import annotations

import re

# Commands to terminals, what turns the direction of writing around it, line separators, and halves of UTF-16 pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text with control characters written as escapes such as `\x1b` and `\u202e`.

    Args:
        text: Such as a file name.
        keep: Control characters that stay.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number <= 0xFF else f"\\u{number:04x}"  # noqa: PLR2004
