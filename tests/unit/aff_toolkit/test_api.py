"""The Python API: the example of its guide, and equality with the encoders and the commands."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import aff_toolkit
from aff_shared.bundles.bundle import load_manifest
from aff_shared.errors import AffError, BundleError, InvalidParameterError
from aff_shared.schemas.preprocessing import Preprocessing, preprocess
from aff_toolkit import Bundle, embed_gallery, embed_query, evaluate, export_query_encoder, load_bundle, train
from aff_toolkit.errors import ExportError
from aff_toolkit.training.stages.train_bundle import TrainingOutcome
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.photograph_folder import write_photographs
from tests.support.tiny_training import TinyTraining

GUIDE = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_photographs(tmp_path_factory.mktemp("photographs"), instances=12, views=4, labelled=True)


@pytest.fixture(scope="module")
def bundle(tiny_training: TinyTraining) -> Bundle:
    return load_bundle(tiny_training.bundle, device="cpu")


@pytest.mark.slow
def test_the_example_of_the_guide_runs_as_it_stands(
    tiny_training: TinyTraining, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").symlink_to(photographs)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "photos").symlink_to(tiny_training.bundle)
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(example, "docs/python.md", "exec"), names)
    dimension = tiny_training.manifest.space.dimension
    assert isinstance(names["scores"], np.ndarray)
    assert names["scores"].shape == (2,)
    assert isinstance(names["query"], np.ndarray)
    assert names["query"].shape == (dimension,)
    assert isinstance(names["outcome"], TrainingOutcome)
    assert load_manifest(tmp_path / "bundles" / "own") == names["outcome"].manifest
    assert json.loads((tmp_path / "out" / "query_encoder.json").read_text()) == names["description"]


def test_the_six_calls_and_nothing_else_are_in_the_table_of_the_guide() -> None:
    listed = set(re.findall(r"^\| `(\w+)\(", GUIDE, re.MULTILINE))
    assert listed == set(aff_toolkit.__all__) - {"Bundle"}
    assert all(getattr(aff_toolkit, name).__doc__ for name in aff_toolkit.__all__)


def test_importing_the_package_imports_no_torch() -> None:
    program = "import sys, aff_toolkit; print(*{'torch', 'numpy', 'pydantic'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout == "\n"
    with pytest.raises(AttributeError, match="has no attribute 'embed'"):
        _ = aff_toolkit.embed


def test_embeddings_are_those_of_the_encoders_for_paths_bytes_and_arrays(bundle: Bundle, photographs: Path) -> None:
    path = photographs / "500" / "0.png"
    pixels = np.asarray(Image.open(path).convert("RGB"))
    place, manifest = bundle.directory, bundle.manifest
    query = OnnxQueryEncoder.load(place, manifest, threads=2).encode([pixels])[0]
    gallery = GalleryEncoder.load(place, manifest, device="cpu").encode([pixels])[0]
    for call, expected in ((embed_query, query), (embed_gallery, gallery)):
        for image in (path, str(path), path.read_bytes(), pixels):
            assert call(bundle, image) == pytest.approx(expected, abs=1e-6)
        many = call(bundle, [path] * 33)  # more than a batch
        assert many.shape == (33, manifest.space.dimension)
        assert many.dtype == np.float32
        assert many[32] == pytest.approx(expected, abs=1e-5)


def test_images_that_cannot_be_used_are_reported(bundle: Bundle, tmp_path: Path) -> None:
    for image, code in (
        (tmp_path / "none.jpg", "photograph_unreadable"),
        (b"text", "image_unsupported"),
        (np.zeros((4, 4), np.uint8), "parameter_invalid"),
        (np.zeros((4, 4, 3), np.float32), "parameter_invalid"),
        (np.zeros((0, 4, 3), np.uint8), "parameter_invalid"),
        (None, "parameter_invalid"),
        (Image.new("RGB", (4, 4)), "parameter_invalid"),
        ([], "parameter_invalid"),
    ):
        for call in (embed_query, embed_gallery):
            with pytest.raises(AffError) as caught:
                call(bundle, image)  # type: ignore[arg-type]
            assert caught.value.code == code
    with pytest.raises(BundleError):
        load_bundle(tmp_path)


def test_an_unusable_image_of_a_list_is_named(bundle: Bundle, photographs: Path) -> None:
    good = (photographs / "500" / "0.png").read_bytes()
    for image in (b"text", np.zeros((4, 4), np.uint8), 3, Image.new("RGB", (4, 4))):
        with pytest.raises(AffError) as caught:
            embed_query(bundle, [good] * 40 + [image])  # type: ignore[list-item]
        assert caught.value.item == "images[40]"
    assert "numpy.asarray(image.convert('RGB'))" in caught.value.detail


@pytest.mark.parametrize(
    "settings", [{"device": "tpu"}, {"precision": "fp16"}, {"threads": 0}, {"threads": -1}, {"threads": "2"}]
)
def test_a_setting_of_a_bundle_that_does_not_exist_is_named(bundle: Bundle, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        load_bundle(bundle.directory, **settings)
    assert [caught.value.item] == list(settings)


@pytest.mark.parametrize(
    ("changed", "item"),
    [
        ({"benchmark": "oxford"}, "benchmark"),
        ({"modes": ["heavy"]}, "modes"),
        ({"modes": "asymmetric"}, "modes"),
        ({"modes": []}, "modes"),
        ({"depth": 0}, "depth"),
        ({"similarity": "l2"}, "similarity"),
        ({"subject": ("one.npy",)}, "subject"),
        ({"subject": "bundles/photos"}, "subject"),
        ({"subject": (np.zeros((1, 2)), np.zeros((1, 2)))}, "subject"),
    ],
)
def test_an_argument_of_an_evaluation_that_does_not_exist_is_named(
    bundle: Bundle, tmp_path: Path, changed: dict[str, Any], item: str
) -> None:
    arguments: dict[str, Any] = {"subject": bundle, "benchmark": "folder", "path": tmp_path} | changed
    with pytest.raises(InvalidParameterError) as caught:
        evaluate(**arguments, output=tmp_path / "out")
    assert caught.value.item == item


def test_a_bundle_and_its_features_have_the_same_scores(bundle: Bundle, photographs: Path, tmp_path: Path) -> None:
    report = evaluate(bundle, "folder", photographs, output=tmp_path / "bundle", modes=["asymmetric"])
    files = sorted(photographs.rglob("*.png"))
    np.save(tmp_path / "gallery.npy", embed_gallery(bundle, files))
    np.save(tmp_path / "queries.npy", embed_query(bundle, files))
    features = tmp_path / "gallery.npy", tmp_path / "queries.npy"
    given = evaluate(features, "folder", photographs, output=tmp_path / "features")
    expected = report.modes["asymmetric"].setups["all"].average_precisions
    assert given.modes["features"].setups["all"].average_precisions == pytest.approx(expected)
    assert (tmp_path / "features" / "report.md").exists()


def test_the_exported_graph_returns_the_embeddings_of_its_bundle(
    bundle: Bundle, photographs: Path, tmp_path: Path
) -> None:
    described = export_query_encoder(bundle, tmp_path / "new" / "q.onnx")
    assert described["fingerprint"] == bundle.manifest.fingerprint
    pixels = np.asarray(Image.open(photographs / "500" / "0.png").convert("RGB"))
    image = preprocess(pixels, Preprocessing.model_validate(described["preprocessing"]))
    session = onnxruntime.InferenceSession(str(tmp_path / "new" / "q.onnx"))  # type: ignore[attr-defined]
    (embedding,) = session.run(None, {"image": image[np.newaxis]})
    assert embedding[0] == pytest.approx(embed_query(bundle, pixels), abs=1e-5)
    with pytest.raises(ExportError):
        export_query_encoder(bundle, tmp_path / "new" / "q.onnx" / "below.onnx")
    with pytest.raises(InvalidParameterError, match="is that of the JSON file"):
        export_query_encoder(bundle, tmp_path / "new" / "q.json")


def test_a_recipe_contains_all_settings(tmp_path: Path) -> None:
    for settings in ({"epochs": 1}, {"base": tmp_path}):
        with pytest.raises(InvalidParameterError, match="a recipe contains all settings"):
            train(tmp_path / "recipe.toml", tmp_path / "own", **settings)  # type: ignore[arg-type]
