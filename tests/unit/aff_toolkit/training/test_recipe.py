"""Training recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.data.photograph_source import PathSource, ScenesSource, UnlabelledSource
from aff_toolkit.data.training_source import TrainingSource
from aff_toolkit.training.engine.optimisation import OptimisationSection
from aff_toolkit.training.engine.pseudo_instances import PseudoInstancesSection
from aff_toolkit.training.recipe import RecipeError, load_recipe
from aff_toolkit.training.recipe_sections import JointSection
from tests.support.tiny_bundle import TINY_BUNDLE_RECIPE
from tests.support.tiny_recipe import TINY_RECIPE_TOML


def rejected(tmp_path: Path, text: str) -> RecipeError:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.item == str(path)
    return caught.value


def test_the_recipe_of_the_tests_bundle_is_read() -> None:
    recipe = load_recipe(TINY_BUNDLE_RECIPE)
    assert recipe.name == "tiny"
    assert [source.part for source in recipe.sources] == ["all", "first_half", "all", "second_half"]


def test_an_unknown_key_is_rejected_by_name(tmp_path: Path) -> None:
    error = rejected(tmp_path, TINY_RECIPE_TOML.replace("tokens = 4", "tokens = 4\noctaves = 3"))
    assert "rootsift.octaves" in error.detail


def test_a_value_out_of_range_is_rejected_by_name(tmp_path: Path) -> None:
    error = rejected(tmp_path, TINY_RECIPE_TOML.replace("alpha = 0.99", "alpha = 1.5"))
    assert "joint.update.alpha" in error.detail


def test_a_missing_section_is_rejected_by_name(tmp_path: Path) -> None:
    error = rejected(tmp_path, TINY_RECIPE_TOML.replace("[joint]", "[mixer.joint]"))
    assert "joint" in error.detail


def test_storing_fewer_pixels_than_training_needs_is_rejected(tmp_path: Path) -> None:
    error = rejected(tmp_path, TINY_RECIPE_TOML.replace("stored_size = 48", "stored_size = 31"))
    assert "stored_size" in error.detail


def test_an_unknown_query_backbone_is_rejected_with_those_that_there_are(tmp_path: Path) -> None:
    error = rejected(tmp_path, TINY_RECIPE_TOML.replace("residual-8", "resnet-9000"))
    assert "query_encoder.backbone" in error.detail
    assert "residual-16" in error.detail


def test_a_source_of_an_unknown_kind_is_rejected(tmp_path: Path) -> None:
    assert "pretraining.sources" in rejected(tmp_path, TINY_RECIPE_TOML.replace('"scenes"', '"zip"', 1)).detail


def test_extractors_from_two_places_or_from_none_are_rejected(tmp_path: Path) -> None:
    both = TINY_RECIPE_TOML.replace("[compact_cnn]", '[base]\nbundle = "bundles/photos"\n\n[compact_cnn]')
    assert "extractors are those of base" in rejected(tmp_path, both).detail
    head, _, tail = TINY_RECIPE_TOML.partition("[compact_cnn]")
    assert "extractors are those of base" in rejected(tmp_path, head + tail[tail.index("[mixer]") :]).detail


def test_a_network_from_scratch_without_pretraining_is_rejected(tmp_path: Path) -> None:
    text = TINY_RECIPE_TOML.replace(
        TINY_RECIPE_TOML[TINY_RECIPE_TOML.index("[pretraining]") :].split("[compact")[0], ""
    )
    assert "required by compact_cnn" in rejected(tmp_path, text).detail


def test_pseudo_instances_need_a_bound_or_an_augmented_copy_to_take_it_from(tmp_path: Path) -> None:
    text = TINY_RECIPE_TOML.replace("[joint]", "[joint]\npseudo_instances = {}")
    assert "set joint.copies to 2" in rejected(tmp_path, text).detail
    for enough in ("pseudo_instances = { min_similarity = 0.5 }", "pseudo_instances = {}\ncopies = 2"):
        (tmp_path / "recipe.toml").write_text(TINY_RECIPE_TOML.replace("[joint]", f"[joint]\n{enough}"))
        assert load_recipe(tmp_path / "recipe.toml").joint.pseudo_instances is not None


def test_a_file_that_is_not_toml_is_rejected(tmp_path: Path) -> None:
    assert "not TOML" in rejected(tmp_path, "name: yaml").detail


def test_a_binary_file_is_rejected_as_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(tmp_path / "none.toml")
    assert caught.value.item == str(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("found", "instead", "complaint"),
    [
        ("[joint]", "[joint]\nanchor_weight = 1.0", "mixer.anchor"),
        ("[query_encoder]", "[query_encoder]\nfine_tuning = {}", "query_encoder.pretrained"),
        ("[query_encoder]", "[query_encoder]\nfine_tuning = { frozen_blocks = 2 }", "frozen_blocks"),
    ],
)
def test_a_setting_that_would_do_nothing_is_rejected(found: str, instead: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(TINY_RECIPE_TOML.replace(found, instead, 1), encoding="utf-8")
    with pytest.raises(RecipeError, match=complaint):
        load_recipe(path)


SCENES = TrainingSource(photographs=ScenesSource(instances=2, views=2))
GROUPING = PseudoInstancesSection(min_similarity=0.5)


def section(*sources: TrainingSource) -> JointSection:
    optimisation = OptimisationSection(epochs=1, batch_size=2, learning_rate=1e-3)
    return JointSection(sources=sources, pseudo_instances=GROUPING, optimisation=optimisation)


@pytest.mark.parametrize(("image", "grouping"), [("tower/1.jpg", None), ("1.jpg", GROUPING)])
def test_what_a_path_holds_decides(tmp_path: Path, image: str, grouping: PseudoInstancesSection | None) -> None:
    (tmp_path / image).parent.mkdir(exist_ok=True)
    (tmp_path / image).write_bytes(b"")
    assert section(SCENES, TrainingSource(photographs=PathSource(path=tmp_path))).grouping == grouping


def test_a_source_that_is_missing_does_not_count(tmp_path: Path) -> None:
    absent = TrainingSource(photographs=UnlabelledSource(path=tmp_path / "none"), optional=True)
    assert section(SCENES, absent).grouping is None
