"""The demo's photographs: procedural landmarks that no training has seen, as JPEG files in memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from aff_client.index_client import Upload
from aff_toolkit.data.photograph import Photograph
from aff_toolkit.evaluation.protocols import scenes_protocol

_INSTANCES = 72
_QUERIES_EACH = 1
_GALLERY_EACH = 4
_DISTRACTORS = 120
_DIFFICULTY = 0.5
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class DemoPhotographs:
    """Gallery and queries; an upload's payload holds the name of its instance."""

    gallery: list[Upload]
    queries: list[Upload]


def render_demo_photographs() -> DemoPhotographs:
    """Render the photographs; the same ones every time."""
    protocol = scenes_protocol(
        instances=_INSTANCES,
        queries_each=_QUERIES_EACH,
        gallery_each=_GALLERY_EACH,
        distractors=_DISTRACTORS,
        difficulty=_DIFFICULTY,
    )
    return DemoPhotographs(
        gallery=[_upload(photograph, f"gallery/{i:04d}.jpg") for i, photograph in enumerate(protocol.gallery)],
        queries=[_upload(photograph, f"query/{i:04d}.jpg") for i, photograph in enumerate(protocol.queries)],
    )


def _upload(photograph: Photograph, name: str) -> Upload:
    bgr = cv2.cvtColor(photograph.load(), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Upload(id=name, name=name, data=encoded.tobytes(), payload={"instance": photograph.instance})
