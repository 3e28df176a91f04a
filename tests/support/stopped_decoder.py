"""A decoder that two files stop; no such file is known for the real ones."""

from __future__ import annotations

DEADLY, ENDLESS = b"a file on which a decoder crashes", b"a file with which it does not end"


def stopped_decoder(module: str) -> str:
    """Return the code of a sitecustomize.py that puts the decoder into a module's processes.

    Args:
        module: Calls decode_image by that name.
    """
    return f"""
import os, time
import {module} as module

decode = module.decode_image

def decode_or_stop(data, *args, **kwargs):
    if data == {DEADLY!r}:
        os.abort()
    if data == {ENDLESS!r}:
        time.sleep(600)
    return decode(data, *args, **kwargs)

module.decode_image = decode_or_stop
"""
