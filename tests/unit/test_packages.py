"""The wheels that a release publishes."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import aff_shared

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "bundles" / "photos"
BUNDLE_FILES = sorted(path.relative_to(BUNDLE).as_posix() for path in BUNDLE.rglob("*") if path.is_file())
PACKAGES = {
    "shared": {"aff_shared/py.typed"},
    "client": {"aff_client/py.typed"},
    "services/query_api": {"query_api/py.typed", "query_api/page/index.html", "query_api/page/manifest.webmanifest"},
    "services/gallery_indexer": {"gallery_indexer/py.typed"},
    "toolkit": {
        "aff_toolkit/py.typed",
        "aff_toolkit/configs/photos.toml",
        *(f"aff_toolkit/bundles/photos/{path}" for path in BUNDLE_FILES),
    },
    "benchmarks": {"aff_benchmarks/py.typed", "aff_benchmarks/configs/ablation/photos.toml"},
}


@pytest.mark.slow
@pytest.mark.parametrize("directory", PACKAGES)
def test_a_wheel_holds_every_file_of_its_package_and_the_version(directory: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT / directory, check=True, capture_output=True)
    (wheel,) = tmp_path.iterdir()
    assert wheel.name.split("-")[1] == aff_shared.__version__
    there = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", f"{directory}/src"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    sources = {name.removeprefix(f"{directory}/src/") for name in tracked if (ROOT / name).is_file()}
    assert sources
    assert (sources | PACKAGES[directory]) - there == set()
    information = next(name.removesuffix("/METADATA") for name in there if name.endswith("/METADATA"))
    assert f"{information}/licenses/LICENSE" in there


def test_every_package_has_the_version_of_one_file_and_so_has_the_citation() -> None:
    for directory in PACKAGES:
        project = tomllib.loads((ROOT / directory / "pyproject.toml").read_text())
        source = ROOT / directory / project["tool"]["hatch"]["version"]["path"]
        assert source.resolve() == Path(aff_shared.__file__).resolve()
        assert project["project"]["dynamic"] == ["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited is not None
    assert cited[1] == aff_shared.__version__


def test_every_package_requires_the_others_in_its_own_version() -> None:
    """A new version is set in aff_shared/__init__.py, in CITATION.cff, and in these requirements."""
    projects = {directory: tomllib.loads((ROOT / directory / "pyproject.toml").read_text()) for directory in PACKAGES}
    names = {project["project"]["name"] for project in projects.values()}
    for directory, project in projects.items():
        extras = project["project"].get("optional-dependencies", {}).values()
        requirements = map(Requirement, chain(project["project"].get("dependencies", []), *extras))
        ours = {str(one.specifier) for one in requirements if one.name in names}
        assert ours <= {f"=={aff_shared.__version__}"}, directory


@pytest.mark.slow
def test_an_installed_toolkit_finds_its_recipes_and_the_default_bundle(tmp_path: Path) -> None:
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *offline, "--target", str(tmp_path / "site")]
    subprocess.run([*install, str(ROOT / "shared"), str(ROOT / "toolkit")], check=True)
    script = """
import sys
from pathlib import Path
from aff_shared.bundles.bundle import load_manifest, verify_files
from aff_shared.bundles.default_bundle import default_bundle
from aff_toolkit.training.recipe import load_recipe
bundle = default_bundle()
assert bundle.is_relative_to(sys.argv[1]), bundle
verify_files(bundle, load_manifest(bundle))
assert load_recipe(Path("photos")).name == load_recipe(Path("photos.toml")).name == "photos"
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, cwd=tmp_path, env=environment)


def test_every_package_has_a_description_and_the_licence_of_the_repository() -> None:
    for directory in PACKAGES:
        project = tomllib.loads((ROOT / directory / "pyproject.toml").read_text())["project"]
        assert project["readme"]["text"].strip().startswith(f"# {project['name']}\n")
        assert project["license-files"] == ["LICENSE"]
        assert (ROOT / directory / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
