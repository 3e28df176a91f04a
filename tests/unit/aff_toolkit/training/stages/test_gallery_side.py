"""The prototypes are in a bundle unless its recipe leaves them out; those of a frozen base stay."""

from __future__ import annotations

from pathlib import Path

import torch

from aff_toolkit.export.export_gate import ExportSection
from aff_toolkit.models.base_bundle import BaseBundle, read_prototypes
from aff_toolkit.models.query_encoder import QueryEncoder
from aff_toolkit.training.recipe import TrainingRecipe
from aff_toolkit.training.recipe_sections import BaseSection
from aff_toolkit.training.stages.export import TrainedPair
from aff_toolkit.training.stages.gallery_side import GallerySide
from gallery_indexer.features.networks.resnet import ResidualNetwork
from tests.support.tiny_training import TinyTraining, tiny_recipe

WITHOUT = tiny_recipe().model_copy(update={"export": ExportSection(prototypes=False)})


def write(training: TinyTraining, recipe: TrainingRecipe, output: Path) -> str | None:
    base = BaseBundle.open(training.bundle)
    pair = TrainedPair(base.load_mixer(), QueryEncoder(ResidualNetwork(8, 16)), torch.eye(3, 16), ("a", "b", "c"))
    side = GallerySide(base.manifest.extractors, base.directory, base if recipe.base else None)
    output.mkdir(exist_ok=True)
    return side.write(pair, recipe, output)[1]


def test_prototypes_are_written_with_their_names(tiny_training: TinyTraining, tmp_path: Path) -> None:
    assert write(tiny_training, tiny_recipe(), tmp_path) == "prototypes.safetensors"
    assert read_prototypes(tmp_path / "prototypes.safetensors")[1] == ["a", "b", "c"]


def test_where_the_recipe_leaves_them_out_not_even_those_of_an_earlier_run_stay(
    tiny_training: TinyTraining, tmp_path: Path
) -> None:
    write(tiny_training, tiny_recipe(), tmp_path)
    assert write(tiny_training, WITHOUT, tmp_path) is None
    assert not (tmp_path / "prototypes.safetensors").exists()
    assert (tmp_path / "extractors/compact_cnn.safetensors").exists()


def test_those_of_a_frozen_base_are_copied_byte_for_byte(tiny_training: TinyTraining, tmp_path: Path) -> None:
    base = BaseSection(bundle=tiny_training.bundle, mixer="frozen", query_encoder="new")
    assert write(tiny_training, WITHOUT.model_copy(update={"base": base}), tmp_path) == "prototypes.safetensors"
    written = (tmp_path / "prototypes.safetensors").read_bytes()
    assert written == (tiny_training.bundle / "prototypes.safetensors").read_bytes()
