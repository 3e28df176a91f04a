from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from aff_shared.errors import (
    BundleIntegrityError,
    DecoderFailedError,
    InvalidCropError,
    TruncatedImageError,
    WorkerError,
)
from aff_shared.images.decoding import Crop, ImageLimits
from aff_shared.images.size import PixelBudget
from query_api.embedding.embedding_process import EmbeddingProcess
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from query_api.embedding.photograph_embedder import OnnxModelRef, Photograph, embed_photographs
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.plain_photograph import plain_png
from tests.support.stopped_decoder import DEADLY, ENDLESS, stopped_decoder
from tests.support.tiny_query_encoder import DIMENSION, tiny_query_encoder

RED, BLUE = (Photograph(plain_png(colour), f"{colour}.png") for colour in ((255, 0, 0), (0, 0, 255)))
pytestmark = pytest.mark.anyio


@pytest.fixture
def graph(tmp_path: Path) -> OnnxModelRef:
    manifest = write_dummy_bundle(tmp_path, dimension=DIMENSION, query_encoder=tiny_query_encoder())
    return OnnxModelRef(tmp_path, manifest.fingerprint, "fp32")


@asynccontextmanager
async def _running(threads: int = 2, timeout_s: float = 60.0) -> AsyncIterator[EmbeddingProcess]:
    process = EmbeddingProcess(ImageLimits(), PixelBudget(100_000_000, ImageLimits()), threads, 1, timeout_s)
    yield process
    await process.close()


async def test_it_returns_the_embeddings_of_decoder_and_encoder(graph: OnnxModelRef, tmp_path: Path) -> None:
    manifest = write_dummy_bundle(tmp_path, dimension=DIMENSION, query_encoder=tiny_query_encoder())
    here = OnnxQueryEncoder.load(tmp_path, manifest, threads=1)
    photographs = [RED, Photograph(BLUE.data, "part", Crop(0, 0, 8, 8)), BLUE]
    async with _running() as process:
        embedded = await process.embed(photographs, graph)
    np.testing.assert_array_equal(embedded.embeddings, embed_photographs(photographs, here, ImageLimits()).embeddings)
    assert embedded.decode_ms > 0
    assert embedded.encode_ms > 0


async def test_an_unusable_photograph_is_reported_by_name(graph: OnnxModelRef) -> None:
    async with _running() as process:
        with pytest.raises(TruncatedImageError) as caught:
            await process.embed([RED, Photograph(BLUE.data[:50], "half.png")], graph)
        assert caught.value.item == "half.png"
        with pytest.raises(InvalidCropError):
            await process.embed([Photograph(RED.data, "red.png", Crop(0, 0, 5000, 5000))], graph)


async def test_more_requests_than_threads_are_answered_each_by_its_own(graph: OnnxModelRef) -> None:
    async with _running(threads=2) as process:
        (red,), (blue,) = [(await process.embed([one], graph)).embeddings for one in (RED, BLUE)]
        answers = await asyncio.gather(*(process.embed([(RED, BLUE)[i % 2]], graph) for i in range(40)))
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer.embeddings[0], (red, blue)[number % 2])


async def test_a_request_that_was_given_up_takes_no_thread_for_ever_and_leaves_no_answer_behind(
    graph: OnnxModelRef,
) -> None:
    async with _running(threads=1) as process:
        (blue,) = (await process.embed([BLUE], graph)).embeddings
        for _ in range(5):
            given_up = asyncio.create_task(process.embed([RED], graph))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            given_up.cancel()
            np.testing.assert_array_equal((await process.embed([BLUE], graph)).embeddings[0], blue)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("photograph", "timeout_s"), [(Photograph(DEADLY, "deadly.png"), 60.0), (Photograph(ENDLESS, "endless.png"), 5.0)]
)
async def test_a_photograph_that_stops_the_decoder_fails_alone(
    photograph: Photograph, timeout_s: float, graph: OnnxModelRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(stopped_decoder("query_api.embedding.photograph_embedder"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with _running(threads=4, timeout_s=timeout_s) as process:
        await process.load(graph)
        outcomes = await asyncio.gather(
            *(process.embed([one], graph) for one in (RED, photograph, BLUE, RED)), return_exceptions=True
        )
        assert [isinstance(outcome, Exception) for outcome in outcomes] == [False, True, False, False], outcomes
        assert isinstance(outcomes[1], DecoderFailedError)  # the request's fault, as in indexing
        assert outcomes[1].item == photograph.name
        assert len((await process.embed([BLUE], graph)).embeddings) == 1


async def test_a_process_that_could_not_be_started_is_started_by_a_later_search(
    graph: OnnxModelRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = sys.executable
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    async with _running() as process:
        with pytest.raises(WorkerError, match="cannot be started"):
            await process.embed([RED], graph)
        monkeypatch.setattr(sys, "executable", python)
        assert len((await process.embed([RED], graph)).embeddings) == 1


async def test_a_bundle_that_another_has_taken_the_place_of_is_not_loaded(graph: OnnxModelRef) -> None:
    async with _running() as process:
        with pytest.raises(BundleIntegrityError):
            await process.load(OnnxModelRef(graph.bundle_path, "0" * 64, "fp32"))
        await process.load(graph)
