"""Recipes for photographs of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.photograph_source import source_of_path
from aff_toolkit.models.base_bundle import BaseBundle
from aff_toolkit.models.query_encoder import QUERY_BACKBONES
from aff_toolkit.training.default_recipe import recipe_for_photographs
from aff_toolkit.training.stages.joint_training import stages_of
from tests.support.photograph_folder import write_photographs
from tests.support.photos_bundle import PHOTOS_BUNDLE, needs_photos_bundle
from tests.support.tiny_bundle import TINY_BUNDLE


@pytest.mark.parametrize("backbone", QUERY_BACKBONES)
def test_every_query_backbone_has_a_recipe_for_own_photographs(backbone: str, tmp_path: Path) -> None:
    source = source_of_path(write_photographs(tmp_path, instances=2, views=2, labelled=True))
    recipe = recipe_for_photographs(source, 40, BaseBundle.open(TINY_BUNDLE), gallery="keep", backbone=backbone)
    assert (recipe.query_encoder.backbone, recipe.name) == (backbone, f"query-{backbone}")


@needs_photos_bundle
@pytest.mark.parametrize(("labelled", "mixer"), [(True, "start"), (False, "frozen")])
def test_a_pretrained_query_encoder_keeps_all_layers_but_the_last(labelled: bool, mixer: str, tmp_path: Path) -> None:
    source = source_of_path(write_photographs(tmp_path, instances=2, views=2, labelled=labelled))
    recipe = recipe_for_photographs(source, 40, BaseBundle.open(PHOTOS_BUNDLE))
    assert recipe.base is not None
    assert (recipe.base.mixer, recipe.joint.update.kind) == (mixer, "gallery_only")
    assert recipe.joint.head_fitting is not None
    assert stages_of(recipe) == (("gallery",) if labelled else ())
