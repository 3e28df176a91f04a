"""Checks before a commit: style of the changed files, types, import contracts, and the quick tests of the changes.

Changed is what differs from the last commit shared with the upstream branch, or else with `main`, and new files.
"""

from __future__ import annotations

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
    "docs/openapi/": ("test_openapi_documents.py",),
    "services/": ("test_openapi_documents.py",),
    "docs/": ("test_documentation.py", "test_architecture.py"),
    "README.md": ("test_documentation.py",),
    "Makefile": ("test_documentation.py",),
    "pyproject.toml": ("test_architecture.py", "test_supply_chain.py"),
    "Dockerfile": ("test_deployment_files.py",),
    "constraints.txt": ("test_supply_chain.py",),
    "requirements": ("test_supply_chain.py",),
}


def changed_files() -> list[str]:
    """Return the changed files that are still there, relative to the root."""
    bases = (_git("merge-base", "HEAD", other) for other in ("@{upstream}", "main", "HEAD"))
    base = next(found for found in bases if found)
    named = [*_git("diff", "--name-only", *base), *_git("ls-files", "--others", "--exclude-standard")]
    return sorted({name for name in named if (ROOT / name).is_file()})


def tests_of(name: str) -> set[Path]:
    """Return the tests to run for one changed file: the nearest ones that mirror it."""
    path = Path(name)
    if path.parts[0] == "tests":
        return {ROOT / path} if path.name.startswith("test_") and path.suffix == ".py" else set()
    beside = {
        UNIT / test
        for start, tests in OF_FILES.items()
        if name.startswith(start) or path.name.startswith(start)
        for test in tests
    }
    if "src" in path.parts and path.suffix == ".py":
        return beside | {_nearest(Path(*path.parts[path.parts.index("src") + 1 :]))}
    return beside


def _nearest(module: Path) -> Path:
    """Return the directory of tests that mirrors the room of a module; a module in no room has a file of tests."""
    own = UNIT / module.with_name(f"test_{module.name}")
    if len(module.parts) == 2 and own.exists():  # noqa: PLR2004 - package and module
        return own
    room = UNIT / module.parent
    while not room.exists():
        room = room.parent
    return room


def _git(*words: str) -> list[str]:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()


def _tool(name: str, *words: object) -> list[str]:
    return [str(BIN / name), *map(str, words)]


def main() -> int:
    """Run every check, mypy in parallel with the others, and return 1 if one of them failed."""
    files = changed_files()
    python = [name for name in files if name.endswith(".py")]
    tests = sorted(set().union(*map(tests_of, files)) if files else ())
    types = subprocess.Popen(_tool("mypy"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    commands = [_tool("lint-imports")]
    if python:
        commands += [_tool("ruff", "check", *python), _tool("ruff", "format", "--check", *python)]
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
