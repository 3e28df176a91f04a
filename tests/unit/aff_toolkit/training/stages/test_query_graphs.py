"""The graphs of a bundle in the making are kept where they pass, and deleted where they do not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from aff_shared.schemas.preprocessing import Preprocessing
from aff_toolkit.errors import ExportMismatchError, QuantisationError
from aff_toolkit.export.export_query_encoder import export_query_encoder
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.features.calibration_photographs import CalibrationPhotographs, sample_readable
from aff_toolkit.training.features.feature_store import FeatureStore
from aff_toolkit.training.stages.export import INT8_QUERY_ENCODER_FILE, QUERY_ENCODER_FILE
from aff_toolkit.training.stages.query_graphs import QueryGraphs
from tests.support.dummy_bundle import write_dummy_bundle
from tests.support.settled_query_encoder import settled_query_encoder
from tests.support.tiny_query_encoder import tiny_query_encoder
from tests.support.tiny_training import TinyTraining

SIZE = 32


@pytest.fixture
def graphs(tiny_training: TinyTraining, tmp_path: Path) -> QueryGraphs:
    store = FeatureStore.open(tiny_training.work / "features")
    photographs = CalibrationPhotographs(
        store, sample_readable(store, 12, seed=1), Preprocessing(resize="stretch", size=SIZE)
    )
    manifest = write_dummy_bundle(tmp_path, dimension=8, int8_query_encoder=b"a graph of an earlier run")
    return QueryGraphs(tmp_path, manifest, photographs)


@pytest.fixture
def exported(graphs: QueryGraphs) -> QueryEncoder:
    encoder = settled_query_encoder(8, SIZE)
    export_query_encoder(encoder, SIZE, graphs.directory / QUERY_ENCODER_FILE)
    return encoder


def test_the_graph_of_the_trained_network_passes(graphs: QueryGraphs, exported: QueryEncoder) -> None:
    figures = graphs.require_trained_network(exported, 0.9999)
    assert figures.photographs == 12
    assert 0.9999 <= figures.min_cosine <= figures.mean_cosine <= 1 + 1e-6
    assert (graphs.directory / QUERY_ENCODER_FILE).exists()


def test_the_graph_of_another_network_is_refused_and_deleted(graphs: QueryGraphs, exported: QueryEncoder) -> None:
    with torch.no_grad():
        exported.network.whitening[0].weight[0] *= -1
    with pytest.raises(ExportMismatchError, match="12 photographs"):
        graphs.require_trained_network(exported, 0.9999)
    assert not (graphs.directory / QUERY_ENCODER_FILE).exists()


def test_the_int8_graph_is_compared_to_the_float32_one_and_can_be_dropped(
    graphs: QueryGraphs, exported: QueryEncoder
) -> None:
    assert exported
    figures = graphs.quantise()
    assert figures.photographs == 12
    assert 0.5 < figures.min_cosine < 1
    graphs.drop_int8()
    assert not (graphs.directory / INT8_QUERY_ENCODER_FILE).exists()
    graphs.drop_int8()


def test_a_graph_that_cannot_be_quantised_is_told(graphs: QueryGraphs) -> None:
    (graphs.directory / QUERY_ENCODER_FILE).write_bytes(tiny_query_encoder())
    with pytest.raises(QuantisationError, match="nothing to quantise"):
        graphs.quantise()
