"""The packages of the images are pinned by hashes, are those that the tests run with, and contain no pickle."""

import re
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.tiny_bundle import TINY_BUNDLE

ROOT = Path(__file__).parents[2]
SERVICES = ("gallery_indexer", "query_api", "toolkit")
OURS = {"aff-shared", "aff-client", "aff-query-api", "aff-gallery-indexer", "aff-toolkit", "aff-benchmarks"}
OTHER_PLATFORMS = {"colorama", "httpx2-jsfetch", "pywin32", "winloop"}


def _locked(service: str) -> dict[str, tuple[str, int]]:
    """Return version and number of hashes of each package."""
    place = ROOT / "toolkit" if service == "toolkit" else ROOT / "services" / service
    text = (place / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[A-Za-z0-9])", text.strip())
    found = {}
    for entry in entries:
        name, version = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", entry).groups()
        found[canonicalize_name(name)] = (version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry)))
    return found


def _constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}


def _needed(name: str, extras: set[str]) -> set[str]:
    """Return the requirements of one of our packages on this platform, and theirs, recursively."""
    needed: set[str] = set()
    waiting = [(name, frozenset(extras))]
    seen = set()
    while waiting:
        package, wanted = waiting.pop()
        if (package, wanted) in seen:
            continue
        seen.add((package, wanted))
        for line in distribution(package).requires or []:
            requirement = Requirement(line)
            if requirement.marker and not any(requirement.marker.evaluate({"extra": e}) for e in wanted | {""}):
                continue
            below = canonicalize_name(requirement.name)
            needed.add(below)
            if below != "torch":  # it is installed separately
                waiting.append((below, frozenset(requirement.extras)))
    return needed - OURS - {"torch"}


@pytest.mark.parametrize("service", SERVICES)
def test_the_requirements_of_an_image_are_our_packages_that_it_needs_with_extras_that_exist(service: str) -> None:
    """Otherwise `make locks` looks for our packages on PyPI."""
    place = ROOT / "toolkit" if service == "toolkit" else ROOT / "services" / service
    listed = re.findall(r"^\./([\w/]+)(?:\[([\w,]+)\])?$", (place / "requirements.in").read_text(), re.MULTILINE)
    projects = {path: tomllib.loads((ROOT / path / "pyproject.toml").read_text())["project"] for path, _ in listed}
    needed = {Requirement(line).name for project in projects.values() for line in project["dependencies"]}
    assert needed & OURS <= {project["name"] for project in projects.values()}
    for path, extras in listed:
        assert set(filter(None, extras.split(","))) <= set(projects[path].get("optional-dependencies", {})), path


@pytest.mark.parametrize("service", SERVICES)
def test_every_package_has_hashes_and_the_version_that_the_tests_run_with(service: str) -> None:
    constraints = _constraints()
    for name, (version, hashes) in _locked(service).items():
        assert hashes > 0, name
        assert name in OTHER_PLATFORMS or constraints[name] == version, name


@pytest.mark.parametrize("service", SERVICES)
def test_the_lock_holds_everything_that_the_service_needs(service: str) -> None:
    needed = _needed(f"aff-{service.replace('_', '-')}", set()) | _needed("aff-shared", {"signatures", "tracing"})
    assert needed - set(_locked(service)) == set(), "run `make locks` and commit the result"


def test_a_lock_names_nothing_of_ours_and_the_query_sides_no_torch() -> None:
    for service in SERVICES:
        assert not set(_locked(service)) & (OURS | {"torch"})
    assert not set(_locked("query_api")) & {"transformers", "safetensors", "opencv-python-headless"}


def test_workflows_pin_every_action_by_its_commit_and_grant_permissions_per_job() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text()
        used = re.findall(r"uses: (\S+)(.*)", text)
        assert used, path
        for action, rest in used:
            assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
            assert action.startswith("./") or re.fullmatch(r" # v\d+\.\d+\.\d+", rest), action
        workflow = yaml.safe_load(text)
        assert workflow["permissions"] == {}
        assert all("permissions" in job for job in workflow["jobs"].values())


def test_a_release_publishes_every_package_and_every_image() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    steps = " ".join(step.get("run", "") for step in workflow["jobs"]["packages"]["steps"])
    assert set(re.search(r"for package in ([\w/ ]+);", steps)[1].split()) == {
        path.parent.relative_to(ROOT).as_posix()
        for path in [*ROOT.glob("*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")]
    }
    images = workflow["jobs"]["images"]["strategy"]["matrix"]["include"]
    dockerfiles = {
        path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*/Dockerfile"), *ROOT.glob("services/*/Dockerfile")]
    }
    assert {image["dockerfile"] for image in images} == dockerfiles


def test_nothing_unpickles() -> None:
    """Weights are safetensors; released checkpoints go through one converter, which loads tensors alone."""
    forbidden = re.compile(r"\b(pickle\.loads?|torch\.load\((?![^)]*weights_only=True)|allow_pickle=True|yaml\.load\()")
    sources = [*ROOT.glob("*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]
    assert len(sources) > 300
    found = [(path.relative_to(ROOT), match[0]) for path in sources for match in forbidden.finditer(path.read_text())]
    assert found == []


def test_no_bundle_of_the_repository_holds_a_pickle() -> None:
    folders = [*ROOT.glob("bundles/*/"), TINY_BUNDLE]
    suffixes = {path.suffix for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".onnx", ".safetensors"}
