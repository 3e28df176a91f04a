"""What the service and the process that embeds photographs for it say to each other.

A message is a JSON object and some bytes. Nothing in it can be executed: photographs come from anybody, and what
decodes them is not trusted by the service.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from aff_contracts.errors import AffError, EncoderError
from aff_contracts.image_decoding import Crop
from query_api.photograph_embedder import EmbeddedPhotographs, EncoderGraph, Photograph

LENGTHS = struct.Struct("<IQ")
"""How a message begins: bytes of its JSON object, and of what follows that."""


def request_of(photographs: Sequence[Photograph], graph: EncoderGraph) -> bytes:
    """Return the message that asks for embeddings; without photographs, that the encoder be loaded."""
    head = {
        "bundle_path": str(graph.bundle_path),
        "fingerprint": graph.fingerprint,
        "precision": graph.precision,
        "photographs": [
            {"bytes": len(one.data), "name": one.name, "crop": one.crop and astuple(one.crop)} for one in photographs
        ],
    }
    return _message(head, *(one.data for one in photographs))


def read_request(head: bytes, body: bytes) -> tuple[list[Photograph], EncoderGraph]:
    """Take apart what `request_of` made."""
    said = json.loads(head)
    photographs, start = [], 0
    for one in said["photographs"]:
        end = start + one["bytes"]
        crop = None if one["crop"] is None else Crop(*one["crop"])
        photographs.append(Photograph(body[start:end], one["name"], crop))
        start = end
    return photographs, EncoderGraph(Path(said["bundle_path"]), said["fingerprint"], said["precision"])


def answer_of(result: EmbeddedPhotographs | AffError) -> bytes:
    """Return the message that answers a request."""
    if isinstance(result, AffError):
        return _message({"error": result.code, "detail": result.detail, "item": result.item})
    head = {
        "shape": result.embeddings.shape,
        "decode_ms": result.decode_ms,
        "encode_ms": result.encode_ms,
    }
    return _message(head, result.embeddings.tobytes())


def read_answer(head: bytes, body: bytes) -> EmbeddedPhotographs:
    """Take apart what `answer_of` made.

    Raises:
        AffError: The answer is one.
    """
    said = json.loads(head)
    if "error" in said:
        raise _error_class(said["error"])(said["detail"], item=said["item"])
    embeddings = np.frombuffer(body, np.float32).reshape(said["shape"])
    return EmbeddedPhotographs(embeddings, decode_ms=said["decode_ms"], encode_ms=said["encode_ms"])


def message_of(received: bytearray) -> tuple[bytes, bytes] | None:
    """Return the head and the body of a message, or None while it is not whole."""
    if len(received) < LENGTHS.size:
        return None
    head, body = LENGTHS.unpack_from(received)
    end = LENGTHS.size + head
    if len(received) < end + body:
        return None
    return bytes(received[LENGTHS.size : end]), bytes(received[end : end + body])


def _message(head: dict[str, Any], *parts: bytes) -> bytes:
    encoded = json.dumps(head).encode()
    return b"".join([LENGTHS.pack(len(encoded), sum(map(len, parts))), encoded, *parts])


def _error_class(code: str) -> type[AffError]:
    waiting: list[type[AffError]] = [AffError]
    for one in waiting:
        if one.code == code:
            return one
        waiting += one.__subclasses__()
    return EncoderError
