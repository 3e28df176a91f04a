"""Texts for readers use plain English: guides, docstrings, command-line help, messages and comments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.plain_english import Finding, files_below, findings_in

ROOT = Path(__file__).parents[2]
SOURCES = {
    "shared/src": 0,
    "client/src": 0,
    "services/query_api/src": 0,
    "services/gallery_indexer/src": 0,
    "toolkit/src": 1,  # the name of an architecture, which bundles hold
    "benchmarks/src": 0,
    "tests": 8,
    "docs/examples": 0,
}
"""Directories with Python code, and the findings that are still to be fixed in them: a count may only fall."""

LISTS = {"plain_english.py", "test_plain_english.py"}
GUIDES = [
    *(page for page in ROOT.glob("*.md") if page.name != "CHANGELOG.md"),  # a record of earlier releases
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "decisions").glob("*.md"),
]
CONFIGURATION = [
    *(ROOT / "deploy").rglob("*.*ml"),
    *(ROOT / "deploy").rglob("*.conf"),
    *(ROOT / "deploy").rglob("*.env"),
    *ROOT.glob("*/Dockerfile"),
    *ROOT.glob("services/*/Dockerfile"),
    ROOT / "docker-compose.yml",
    ROOT / "Makefile",
    ROOT / "pyproject.toml",
    *ROOT.glob("*/configs/**/*.toml"),
    *ROOT.glob("services/query_api/src/query_api/page/*.js"),
    ROOT / "services" / "query_api" / "web" / "build.mjs",
]


def findings(paths: Iterable[Path]) -> list[Finding]:
    return [finding for path in paths for finding in findings_in(path)]


def listed(found: list[Finding]) -> str:
    return "\n".join(f"{one.path}:{one.line}: '{one.phrase}', better: {one.instead}" for one in found)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_a_guide_has_no_banned_phrasing(guide: Path) -> None:
    found = findings([guide])
    assert found == [], listed(found)


def test_configuration_files_have_no_banned_phrasing_in_comments() -> None:
    assert len(CONFIGURATION) > 20
    found = findings(CONFIGURATION)
    assert found == [], listed(found)


@pytest.mark.parametrize(("directory", "still_to_fix"), SOURCES.items(), ids=SOURCES)
def test_python_code_has_no_new_banned_phrasing(directory: str, still_to_fix: int) -> None:
    found = findings(path for path in files_below(ROOT / directory) if path.name not in LISTS)
    assert len(found) <= still_to_fix, listed(found)


@pytest.mark.parametrize(
    ("source", "phrases"),
    [
        ('"""Say what\n    it is told."""', ["told", "Say", "Say"]),
        ('def f():\n    """Return it.\n\n    Args:\n        path: Of the file.\n    """', ["path: Of"]),
        ('raise Error(f"{name} lies beside the file")', ["beside", "lies"]),
        ("x = 1  # anew", ["anew"]),
        ('x = "asks"', []),
        ('"""Return the hits of a given query, as `says` does."""', []),
    ],
)
def test_the_texts_of_python_are_searched(tmp_path: Path, source: str, phrases: list[str]) -> None:
    (tmp_path / "module.py").write_text(source)
    assert sorted(one.phrase for one in findings_in(tmp_path / "module.py")) == sorted(phrases)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Makefile", "run: tell ## Start the service\n# It tells\n"),
        ("page.js", "told(); // the service\n/** It tells. */\n"),
    ],
)
def test_comments_of_other_files_are_searched(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert [(one.line, one.phrase) for one in findings_in(tmp_path / name)] == [(2, "tells")]
