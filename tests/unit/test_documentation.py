"""The documentation names what there is."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from aff_contracts.bundle import load_manifest
from aff_contracts.gallery_store.settings import StoreSettings
from gallery_indexer.settings import IndexerSettings
from query_api.settings import QuerySettings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("settings", [StoreSettings, IndexerSettings, QuerySettings])
def test_every_setting_is_documented(settings: type[BaseSettings]) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    prefix = settings.model_config["env_prefix"]
    variables = [f"`{prefix}{name.upper()}`" for name in settings.model_fields if name != "store"]
    assert [variable for variable in variables if variable not in text] == []


def test_every_make_target_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z-]+)", (ROOT / "README.md").read_text()))
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert named <= set(re.findall(r"make ([a-z-]+)", listed)) | {"help"}


def test_every_link_in_the_documentation_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), (page, target)


def test_the_ci_script_calls_the_readmes_test_command_and_the_linters() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "make test" in script
    assert "make lint" in script


def test_the_readmes_figures_of_the_tiny_bundle_are_those_of_its_manifest() -> None:
    metrics = load_manifest(ROOT / "bundles" / "tiny").metrics
    section = (ROOT / "README.md").read_text().split("## The tiny bundle")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (?:procedural|real) .*?\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", section, re.M)
    measured = [
        tuple(
            f"{100 * metrics[protocol]['scores'][pairing]['map']:.1f}"
            for pairing in ("asymmetric", "symmetric", "light_only")
        )
        for protocol in ("scenes", "open_set")
    ]
    assert rows == measured


@pytest.mark.parametrize(
    ("target", "command"),
    [
        (["serve"], "/aff serve"),
        (["demo"], "/aff demo"),
        (["demo", "GALLERY=my folder", "QUERY=photo.jpg"], '/aff demo --gallery "my folder" --query "photo.jpg"'),
    ],
)
def test_a_make_target_of_the_readme_runs_its_command(target: list[str], command: str) -> None:
    printed = subprocess.run(["make", "-n", *target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert command in " ".join(printed.split())
