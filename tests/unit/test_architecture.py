"""docs/architecture.md, the import contracts and the directories of the tests describe the packages that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
SOURCES = {
    path.name: path
    for pattern in ("*/src/*", "services/*/src/*")
    for path in sorted(ROOT.glob(pattern))
    if (path / "__init__.py").is_file()
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table that begins with this heading."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def levels_of_contracts(package: str) -> list[set[str]]:
    """Return the subpackages of each layer of a package, from top to bottom."""
    (contract,) = [one for one in CONTRACTS if one.get("containers") == [package]]
    return [set(layer.split(" | ")) for layer in contract["layers"]]


def test_every_package_is_on_the_architecture_page_with_its_directory() -> None:
    named = {
        quoted(name)[0]: quoted(directory)[0] for directory, name, *_ in rows("directory | package") if quoted(name)
    }
    assert named == {name: f"{path.parents[1].relative_to(ROOT)}/" for name, path in SOURCES.items()}


@pytest.mark.parametrize("package", [name for name in SOURCES if name != "aff_client"])  # one level
def test_layers_of_the_architecture_page_exist_and_are_those_of_the_import_contracts(package: str) -> None:
    table = {quoted(name)[0]: layers for name, layers in rows("package | layers")}
    levels = [quoted(level) for level in table[package].split(" > ")]
    for name in (name for level in levels for name in level):
        assert (SOURCES[package] / name).is_dir() or (SOURCES[package] / f"{name}.py").is_file(), name
    contract = levels_of_contracts(package)
    places = [{number for number, layer in enumerate(contract) if layer & set(level)} for level in levels]
    assert [len(place) for place in places] == [1] * len(levels)
    assert places == sorted(places, key=min)


@pytest.mark.parametrize("package", SOURCES)
def test_directories_of_unit_tests_mirror_the_package(package: str) -> None:
    tests = ROOT / "tests" / "unit" / package
    directories = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert [str(one) for one in sorted(directories) if not (SOURCES[package] / one).is_dir()] == []
