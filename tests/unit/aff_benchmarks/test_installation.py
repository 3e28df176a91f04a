"""The package adds its subcommands to `aff` when it is installed, and `aff` works without it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, packages_distributions
from pathlib import Path

import pytest
from typer.main import get_command

from aff_toolkit.cli.main import app

ROOT = Path(__file__).parents[3]
COMMANDS = {"ablate", "bench", "encoders", "plan"}
WITHOUT_THE_PACKAGE = """
import importlib.metadata, sys
found = importlib.metadata.entry_points
importlib.metadata.entry_points = lambda **given: () if given == {"group": "aff_toolkit.commands"} else found(**given)
sys.modules["aff_benchmarks"] = None  # not importable
from aff_toolkit.cli.main import main
main()
"""


def test_the_entry_point_adds_the_subcommands() -> None:
    (entry_point,) = entry_points(group="aff_toolkit.commands")
    assert (entry_point.name, entry_point.module) == ("benchmarks", "aff_benchmarks.cli")
    assert set(get_command(app).list_commands(None)) >= COMMANDS  # type: ignore[attr-defined]


def test_without_the_package_aff_works_and_lacks_the_subcommands() -> None:
    command = [sys.executable, "-c", WITHOUT_THE_PACKAGE, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"})
    words = {line.strip("│ ").split(" ")[0] for line in shown.stdout.splitlines()}
    assert {"search", "index", "train", "evaluate"} <= words
    assert words.isdisjoint(COMMANDS)


def test_every_imported_package_is_a_dependency() -> None:
    project = tomllib.loads((ROOT / "benchmarks" / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"], *project["optional-dependencies"]["browser"]]
    declared = {re.split(r"[\[>=]", requirement)[0].lower().replace("_", "-") for requirement in requirements}
    distributions = packages_distributions()
    imported = {
        name.split(".")[0]
        for path in (ROOT / "benchmarks" / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        for name in _imported_by(node)
    }
    others = imported - sys.stdlib_module_names - {"aff_benchmarks"}
    editable = {name: [f"aff-{name.removeprefix('aff_')}"] for name in others if name not in distributions}
    names = {name: {one.lower().replace("_", "-") for one in (distributions | editable)[name]} for name in others}
    assert [name for name in others if declared.isdisjoint(names[name])] == []


def _imported_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module] if isinstance(node, ast.ImportFrom) and node.module else []


@pytest.mark.slow
def test_an_installed_package_has_its_subcommands_and_configurations(tmp_path: Path) -> None:
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *offline, "--target", str(tmp_path), str(ROOT / "benchmarks")]
    subprocess.run(install, check=True)
    script = """
import aff_benchmarks, sys
from aff_benchmarks.ablation.ablation_config import load_ablation_config
from aff_toolkit.cli.main import main
assert aff_benchmarks.__file__.startswith(sys.argv.pop(1))
load_ablation_config("photos")
main()
"""
    command = [sys.executable, "-c", script, str(tmp_path), "plan", "--images", "1e6", "--qps", "10"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    assert "Qdrant nodes" in shown.stdout
