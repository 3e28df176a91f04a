"""The steps of docs/extending.md, applied to a copy of the repository, work.

A block of Python or TOML is the file that the text before it names, a block of differences changes that file, and a
block of shell commands is run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
PACKAGES = ("shared", "client", "services/gallery_indexer", "services/query_api", "toolkit", "benchmarks")
COPIED = ("shared", "client", "services", "toolkit", "benchmarks", "tests", "docs")
LINKED = (".venv", "bundles", "docs/images", "tests/bundles", "toolkit/configs")  # large, or never changed by a guide


class Block(NamedTuple):
    """A block of the guide: its language, the text before it, and its lines."""

    language: str
    before: str
    text: str

    @property
    def path(self) -> str:
        """The file that the last line before the block names."""
        (path,) = re.findall(r"^(?:New file|In) `([^`]+)`:$", self.before.strip().splitlines()[-1])
        return path


def sections() -> dict[str, list[Block]]:
    """Return the blocks of each section of the guide."""
    parts = re.split(r"^## (.+)$", re.sub(r"\A.*?(?=^## )", "", GUIDE, flags=re.DOTALL | re.MULTILINE), flags=re.M)
    pattern = re.compile(r"(.*?)^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return {
        title: [Block(language, before, text) for before, language, text in pattern.findall(body)]
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


SECTIONS = sections()
*EXTENSIONS, TRAINING = SECTIONS


def fits(line: str, shown: str) -> bool:
    """Return whether a line of a file is the one that a guide shows, whose end may be left out."""
    return line.startswith(shown[1:-1]) if shown.endswith("…") else line == shown[1:]


def changed(lines: list[str], hunk: list[str]) -> list[str]:
    """Apply a hunk at the only place where it fits."""
    old = [shown for shown in hunk if not shown.startswith("+")]
    places = [
        start
        for start in range(len(lines) - len(old) + 1)
        if all(fits(line, shown) for line, shown in zip(lines[start:], old, strict=False))
    ]
    assert len(places) == 1, f"fits at {len(places)} places: {old}"
    there = iter(lines[places[0] :])
    new = [shown[1:] if shown.startswith("+") else next(there) for shown in hunk]
    kept = [line for line, shown in zip(new, hunk, strict=True) if not shown.startswith("-")]
    return [*lines[: places[0]], *kept, *there]


def write(block: Block, tree: Path) -> None:
    """Create or change the file of a block."""
    file = tree / block.path
    if block.language != "diff":
        assert not file.exists(), block.path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(block.text, encoding="utf-8")
        return
    lines = file.read_text(encoding="utf-8").splitlines()
    for hunk in re.split(r"^@@\n", block.text, flags=re.MULTILINE):
        lines = changed(lines, hunk.splitlines())
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(command: str, tree: Path) -> None:
    """Run a block of commands in a copy; its packages precede the installed ones."""
    sources = os.pathsep.join(str(tree / package / "src") for package in PACKAGES)
    ours = ("PYTEST_", "QDRANT_", "AFF_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=tree,
        env={**inherited, "PYTHONPATH": sources},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


def follow(section: str, tree: Path, *, checks: bool) -> list[str]:
    """Apply the blocks of a section in order, and return the Python files that they change."""
    files = []
    for block in SECTIONS[section]:
        if block.language == "sh":
            if checks or not block.text.startswith(".venv/"):  # without checks, only what the next steps need
                run(block.text, tree)
        else:
            write(block, tree)
            files.append(block.path)
    return [file for file in files if file.endswith(".py")]


def left_out(directory: str, names: list[str]) -> set[str]:
    """Return the names in a directory that are not copied: links, and what Node.js packages consist of."""
    below = Path(directory).relative_to(ROOT)
    return {name for name in names if name in {"node_modules", "ort"} or str(below / name) in LINKED}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the repository without what is large or ignored."""
    tree = tmp_path / "copy"
    for name in COPIED:
        shutil.copytree(ROOT / name, tree / name, ignore=left_out)
    for name in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy2(ROOT / name, tree / name)
    for name in LINKED:
        (tree / name).symlink_to(ROOT / name)
    yield tree
    shutil.rmtree(tree)


def test_the_guide_has_the_six_extensions() -> None:
    assert EXTENSIONS == ["An extractor", "A loss", "A mixer", "A query backbone", "A benchmark", "A store"]
    assert all(any(block.language == "sh" for block in SECTIONS[name]) for name in SECTIONS)


def test_the_steps_fit_the_source_and_its_style(tree: Path) -> None:
    files = [file for section in EXTENSIONS for file in follow(section, tree, checks=False)]
    run(f".venv/bin/ruff check --no-cache {' '.join(files)}", tree)
    run(f".venv/bin/ruff format --no-cache --check {' '.join(files)}", tree)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("section", EXTENSIONS)
def test_the_commands_of_a_guide_succeed_after_its_steps(section: str, tree: Path) -> None:
    follow(section, tree, checks=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_extensions_together_train_a_bundle_that_can_be_evaluated(tree: Path) -> None:
    for section in EXTENSIONS:
        follow(section, tree, checks=False)
    follow(TRAINING, tree, checks=True)
    assert (tree / "out" / "try" / "evaluation" / "report.json").is_file()
