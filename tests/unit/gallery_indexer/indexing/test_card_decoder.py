"""JPEGs decoded by nvImageCodec: a stand-in of the library, and the library itself where there is a GPU."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from aff_shared.errors import ImageError, MissingExtraError
from aff_shared.images.decoding import ImageLimits
from aff_shared.schemas.preprocessing import Preprocessing
from gallery_indexer.collections.collection_runtime import load_bundle
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from gallery_indexer.indexing import card_decoder
from gallery_indexer.indexing.photograph_preparation import PhotographPreparation, PreparedPhotograph, ThumbnailMaker
from gallery_indexer.settings import IndexerSettings
from tests.support.tiny_bundle import TINY_BUNDLE

SQUARE, LONGEST = Preprocessing(resize="stretch", size=96), Preprocessing(resize="longest_side", size=80)
LIMITS = ImageLimits()
# Largest mean difference of the pixels from the CPU's decoder, of 255: no more than its own rounding to whole levels.
CLOSE = 0.5


class Library:
    """Stand-in of `nvidia.nvimgcodec`: decodes with Pillow, counts the calls, and fails on request."""

    def __init__(self) -> None:
        self.calls = 0
        self.result: Any = None
        self.error: Exception | None = None
        module: Any = ModuleType("nvidia.nvimgcodec")
        module.__spec__ = SimpleNamespace(name="nvidia.nvimgcodec")
        module.BackendKind = SimpleNamespace(HW_GPU_ONLY=3, GPU_ONLY=1, HYBRID_CPU_GPU=2)
        module.Backend = module.CodeStream = lambda value: value
        module.DecodeParams = lambda *, apply_exif_orientation: SimpleNamespace(turned=apply_exif_orientation)
        module.Decoder = self.open
        self.module: Any = module
        package: Any = ModuleType("nvidia")
        package.__path__ = []
        package.nvimgcodec = module
        self.package = package

    def open(self, *, max_num_cpu_threads: int, backends: list[int], options: str) -> Library:
        assert (max_num_cpu_threads, backends, options) == (1, [3, 1, 2], ":fancy_upsampling=1")
        return self

    def decode(self, source: bytes, *, params: Any) -> Any:
        assert not params.turned
        self.calls += 1
        if self.error is not None:
            raise self.error
        return torch.from_numpy(np.array(Image.open(io.BytesIO(source)))) if self.result is None else self.result()


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    library = Library()
    monkeypatch.setitem(sys.modules, "nvidia", library.package)
    monkeypatch.setitem(sys.modules, "nvidia.nvimgcodec", library.module)
    card_decoder._decoder.cache_clear()
    yield library
    card_decoder._decoder.cache_clear()


def photograph(width: int = 240, height: int = 160) -> Image.Image:
    small = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(image: Image.Image | None = None, **options: Any) -> bytes:
    file = io.BytesIO()
    (image or photograph()).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return jpeg(exif=exif)


def prepared(data: bytes, *, on_card: bool, limits: ImageLimits = LIMITS) -> PreparedPhotograph:
    return PhotographPreparation(limits, (SQUARE, LONGEST, SQUARE), ThumbnailMaker(64, 75), on_card)(data, "a.jpg")


def assert_close(found: PreparedPhotograph, expected: PreparedPhotograph) -> None:
    assert (found.width, found.height) == (expected.width, expected.height)
    for pixels, others in zip(found.pixels, expected.pixels, strict=True):
        assert pixels.shape == others.shape
        assert pixels.dtype == np.uint8
        assert pixels.flags.c_contiguous
        assert np.abs(pixels.astype(int) - others).mean() < CLOSE
    assert found.thumbnail is not None
    assert expected.thumbnail is not None
    sizes = {Image.open(io.BytesIO(one)).size for one in (found.thumbnail, expected.thumbnail)}
    assert sizes == {(64, 43)}


def test_a_baseline_photograph_decoded_on_the_card_has_the_pixels_of_the_cpu(library: Library) -> None:
    found = prepared(jpeg(), on_card=True)
    assert library.calls == 1
    assert_close(found, prepared(jpeg(), on_card=False))
    assert library.calls == 1
    assert found.pixels[0] is found.pixels[2]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(jpeg(progressive=True), id="progressive"),
        pytest.param(turned(), id="turned by EXIF"),
        pytest.param(jpeg(photograph().convert("CMYK")), id="CMYK"),
        pytest.param(jpeg(photograph().convert("L")), id="grey"),
        pytest.param(jpeg(keep_rgb=True), id="RGB without a transform"),
        pytest.param(jpeg() + b"trailer", id="with a trailer"),
    ],
)
def test_what_is_not_a_plain_baseline_photograph_is_decoded_on_the_cpu(library: Library, data: bytes) -> None:
    found, expected = prepared(data, on_card=True), prepared(data, on_card=False)
    assert library.calls == 0
    for pixels, others in zip(found.pixels, expected.pixels, strict=True):
        assert np.array_equal(pixels, others)


@pytest.mark.parametrize("data", [jpeg()[:2000], jpeg()[:2000] + b"\xff\xd9", b"", b"\xff\xd8\xff\xd9"])
def test_a_damaged_photograph_is_rejected_as_the_cpu_rejects_it(library: Library, data: bytes) -> None:
    library.result = lambda: torch.full((160, 240, 3), 128, dtype=torch.uint8)  # what is missing is grey
    with pytest.raises(ImageError) as on_card:
        prepared(data, on_card=True)
    with pytest.raises(ImageError) as on_cpu:
        prepared(data, on_card=False)
    assert type(on_card.value) is type(on_cpu.value)


@pytest.mark.parametrize("limits", [ImageLimits(max_pixels=100), ImageLimits(max_side=200), ImageLimits(min_side=170)])
def test_limits_are_checked_before_the_card_decodes(library: Library, limits: ImageLimits) -> None:
    with pytest.raises(ImageError):
        prepared(jpeg(), on_card=True, limits=limits)
    assert library.calls == 0


def test_a_large_photograph_is_reduced_while_the_cpu_decodes_it(library: Library) -> None:
    prepared(jpeg(), on_card=True, limits=ImageLimits(large_pixels=10_000))
    assert library.calls == 0


def test_a_photograph_that_the_card_cannot_decode_is_decoded_on_the_cpu(
    library: Library, caplog: pytest.LogCaptureFixture
) -> None:
    library.result = lambda: None
    assert np.array_equal(prepared(jpeg(), on_card=True).pixels[0], prepared(jpeg(), on_card=False).pixels[0])
    library.error = RuntimeError("CUDA failure")
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(prepared(jpeg(), on_card=True).pixels[0], prepared(jpeg(), on_card=False).pixels[0])
    assert library.calls == 2
    assert "the CPU decodes it" in caplog.text


def test_without_a_gpu_one_warning_is_logged(library: Library, caplog: pytest.LogCaptureFixture) -> None:
    library.module.Decoder = None
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            prepared(jpeg(), on_card=True)
    assert len(caplog.records) == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_indexer_without_the_library_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvidia", None)
    monkeypatch.delitem(sys.modules, "nvidia.nvimgcodec", raising=False)
    settings = IndexerSettings(bundle_path=Path(TINY_BUNDLE), jpeg_decoder="nvimgcodec")
    with pytest.raises(MissingExtraError, match="aff-gallery-indexer\\[nvimgcodec\\]"):
        await load_bundle(settings.bundle_path, settings, GalleryEncoder.load)


def test_a_real_card_has_the_pixels_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU: only the stand-in of nvImageCodec was tested")
    pytest.importorskip("nvidia.nvimgcodec", reason="nvImageCodec is not installed")
    for data in (jpeg(), jpeg(subsampling=0), jpeg(photograph(641, 427))):
        assert card_decoder.decode_on_card(data, LIMITS) is not None
        assert_close(prepared(data, on_card=True), prepared(data, on_card=False))
