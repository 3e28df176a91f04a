from __future__ import annotations

import pytest

from aff_shared.schemas.text_forms import decode_base64

DATA = bytes(range(248, 256)) + b"???>>>"  # its standard form has both + and /
STANDARD = "+Pn6+/z9/v8/Pz8+Pj4="


@pytest.mark.parametrize(
    "text",
    [
        STANDARD,
        STANDARD.rstrip("="),
        "-Pn6-_z9_v8_Pz8-Pj4=",
        "-Pn6-_z9_v8_Pz8-Pj4",
        "+Pn6+/z9\r\n/v8/Pz8+\r\nPj4=\r\n",
        "  +Pn6 +/z9\t/v8/Pz8+Pj4 = \n",
        f"data:image/jpeg;base64,{STANDARD}",
        f"data:;base64,{STANDARD}",
        f"DATA:image/svg+xml;charset=utf-8;name=a.svg;BASE64,{STANDARD}",
        f"\n data:image/png; base64,{STANDARD}\n",
        "data:image/webp;base64,%2BPn6%2B%2Fz9%2Fv8%2FPz8%2BPj4%3D",
    ],
)
def test_every_way_to_write_base64_is_read(text: str) -> None:
    assert decode_base64(text) == DATA


def test_nothing_is_no_bytes() -> None:
    assert decode_base64("") == decode_base64(" \n") == b""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("AAAAA", "5 digits, so it was cut"),
        ("AA=A", "padding before the end"),
        ("AAAA====AAAA", "padding before the end"),
        ("AA*A", "a character of no alphabet"),
        ("AA\\nAA", "a character of no alphabet"),
        ("ÄAAA", "not ASCII"),
        ("data:image/jpeg,AAAA", "without ;base64"),
        ("data:image/jpeg;base64", "a character of no alphabet"),
        ("/9j/4AAQ.jpg", "a character of no alphabet"),
    ],
)
def test_what_is_not_base64_is_rejected_with_the_reason(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_base64(text)
