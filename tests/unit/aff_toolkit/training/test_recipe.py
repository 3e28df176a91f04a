"""Training recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from aff_toolkit.training.recipe import RecipeError, load_recipe
from tests.support.tiny_recipe import TINY_RECIPE_TOML

COMMITTED = Path(__file__).parents[4] / "toolkit" / "configs" / "tiny.toml"


def refused(tmp_path: Path, text: str) -> RecipeError:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert caught.value.item == str(path)
    return caught.value


def test_the_committed_recipe_is_read() -> None:
    recipe = load_recipe(COMMITTED)
    assert recipe.name == "tiny"
    assert recipe.extra is not None


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    error = refused(tmp_path, TINY_RECIPE_TOML.replace("tokens = 4", "tokens = 4\noctaves = 3"))
    assert "rootsift.octaves" in error.detail


def test_a_value_out_of_range_is_refused_by_name(tmp_path: Path) -> None:
    error = refused(tmp_path, TINY_RECIPE_TOML.replace("alpha = 0.99", "alpha = 1.5"))
    assert "joint.update.alpha" in error.detail


def test_a_missing_section_is_refused_by_name(tmp_path: Path) -> None:
    error = refused(tmp_path, TINY_RECIPE_TOML.split("[evaluation]")[0])
    assert "evaluation" in error.detail


def test_storing_fewer_pixels_than_training_needs_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path, TINY_RECIPE_TOML.replace("stored_size = 48", "stored_size = 31"))
    assert "stored_size" in error.detail


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    assert "not TOML" in refused(tmp_path, "name: yaml").detail


def test_a_binary_file_is_refused_as_not_toml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(RecipeError, match="not TOML"):
        load_recipe(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read") as caught:
        load_recipe(tmp_path / "none.toml")
    assert caught.value.item == str(tmp_path / "none.toml")
