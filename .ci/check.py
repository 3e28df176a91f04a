"""Checks before a commit: style and English of the changed files, types, import contracts, and quick tests.

Changed is what differs from the last commit shared with the upstream branch, or else with `main`, and new files. The
tests are those that mirror or import a changed module within its package; `make test` runs the others.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
UNIT = ROOT / "tests" / "unit"
QUICK = "not slow and not browser"
# Tests of files that are not modules, by the beginning of the path or of the name.
OF_FILES = {
    "deploy/": ("test_deployment_files.py", "test_kubernetes.py"),
    "docker-compose.yml": ("test_deployment_files.py", "test_kubernetes.py"),
    "toolkit/configs/": ("aff_toolkit/training/test_shipped_recipes.py",),
    "services/query_api/src/query_api/page/": ("query_api/test_page_scripts.py", "query_api/http/test_page_files.py"),
    "docs/openapi/": ("test_openapi_documents.py",),
    "services/": ("test_openapi_documents.py",),
    "docs/extending.md": ("test_extending.py",),
    "docs/": ("test_documentation.py", "test_architecture.py"),
    "README.md": ("test_documentation.py",),
    "Makefile": ("test_documentation.py",),
    "pyproject.toml": ("test_architecture.py", "test_supply_chain.py"),
    "Dockerfile": ("test_deployment_files.py",),
    "constraints.txt": ("test_supply_chain.py",),
    "requirements": ("test_supply_chain.py",),
}


def changed_files() -> list[str]:
    """Return the changed, new and deleted files, relative to the root."""
    bases = (_git("merge-base", "HEAD", other) for other in ("@{upstream}", "main", "HEAD"))
    base = next(found for found in bases if found)
    named = [*_git("diff", "--name-only", *base), *_git("ls-files", "--others", "--exclude-standard")]
    return sorted(set(named))


def tests_of(name: str) -> set[Path]:
    """Return the tests to run for one changed file; there may be none."""
    path = Path(name)
    if path.parts[0] == "tests":
        return _tests_of_test_code(path)
    beside = {
        UNIT / test
        for start, tests in OF_FILES.items()
        if name.startswith(start) or path.name.startswith(start)
        for test in tests
    }
    if "src" in path.parts and path.suffix == ".py":
        return beside | _tests_of_module(Path(*path.parts[path.parts.index("src") + 1 :]))
    return beside


def _tests_of_test_code(path: Path) -> set[Path]:
    """Return a test file itself, or the tests that import a file of `tests/support`."""
    if path.name.startswith("test_") and path.suffix == ".py":
        return {ROOT / path} if (ROOT / path).exists() else set()
    return _importing(f"tests.support.{path.stem}", ROOT / "tests") if "support" in path.parts else set()


def _tests_of_module(module: Path) -> set[Path]:
    """Return the tests that mirror or import a module, or else those of its directory."""
    package = UNIT / module.parts[0]
    dotted = ".".join(module.with_suffix("").parts).removesuffix(".__init__")
    mirror = UNIT / module.with_name(f"test_{module.name}")
    found = _importing(dotted, package) | ({mirror} if mirror.exists() else set())
    directory = UNIT / module.parent
    while not directory.exists():
        directory = directory.parent
    return found or {directory}


def _importing(dotted: str, directory: Path) -> set[Path]:
    """Return the test files below a directory that import a module, as `from a.b import` or as `from a import b`."""
    parent, _, name = dotted.rpartition(".")
    whole, package = re.escape(dotted), re.escape(parent)
    pattern = re.compile(
        rf"^\s*(from {whole} import|import {whole}\b|from {package} import .*\b{name}\b)", re.MULTILINE
    )
    files = directory.rglob("test_*.py")
    return {path for path in files if pattern.search(path.read_text(encoding="utf-8"))}


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


def _tool(name: str, *words: object) -> list[str]:
    return [str(BIN / name), *map(str, words)]


def main() -> int:
    """Run every check, mypy in parallel with the others, and return 1 if one of them failed."""
    files = changed_files()
    there = [name for name in files if (ROOT / name).is_file()]
    python = [name for name in there if name.endswith(".py")]
    texts = [name for name in there if ("/src/" in name and name in python) or re.match(r"docs/.*\.md$", name)]
    tests = sorted(set().union(*map(tests_of, files)) if files else ())
    types = subprocess.Popen(_tool("mypy"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    commands = [_tool("lint-imports")]
    if python:
        commands += [_tool("ruff", "check", *python), _tool("ruff", "format", "--check", *python)]
    if texts:
        commands.append([sys.executable, "-m", "tests.support.plain_english", *texts])
    if tests:
        commands.append(_tool("pytest", "-q", "-x", "-n", "auto", "--dist", "loadfile", "-m", QUICK, *tests))
    # Where every test of the files is slow, pytest ends with status 5: no test ran.
    failed = [
        command for command in commands if subprocess.run(command, cwd=ROOT, check=False).returncode not in (0, 5)
    ]
    sys.stdout.write(types.communicate()[0])
    return 1 if failed or types.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
