"""The demo's photographs."""

from __future__ import annotations

from collections import Counter

import pytest

from aff_shared.images.decoding import ImageLimits, decode_image
from aff_toolkit.data.scenes import HELD_OUT
from aff_toolkit.demo import DemoPhotographs, render_demo_photographs


@pytest.fixture(scope="module")
def photographs() -> DemoPhotographs:
    return render_demo_photographs()


def landmark(name: str) -> int:
    return int(name.removeprefix("scene-"))


@pytest.mark.slow
def test_there_are_as_many_as_the_demo_promises(photographs: DemoPhotographs) -> None:
    assert len(photographs.gallery) >= 300
    assert len({query.payload["instance"] for query in photographs.queries}) >= 60
    assert len(photographs.queries) >= 60


def test_every_query_has_positives_and_the_rest_are_distractors(photographs: DemoPhotographs) -> None:
    views = Counter(upload.payload["instance"] for upload in photographs.gallery)
    queried = {query.payload["instance"] for query in photographs.queries}
    assert {views[name] for name in queried} == {4}
    assert {count for name, count in views.items() if name not in queried} == {1}


def test_no_training_has_seen_them(photographs: DemoPhotographs) -> None:
    uploads = [*photographs.gallery, *photographs.queries]
    assert min(landmark(upload.payload["instance"]) for upload in uploads) >= HELD_OUT


def test_ids_are_unique_and_files_are_photographs(photographs: DemoPhotographs) -> None:
    uploads = [*photographs.gallery, *photographs.queries]
    assert len({upload.id for upload in uploads}) == len(uploads)
    assert decode_image(uploads[0].data, ImageLimits()).pixels.shape == (240, 320, 3)
