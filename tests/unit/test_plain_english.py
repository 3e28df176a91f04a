"""Texts for readers use plain English: guides, docstrings, command-line help, messages and comments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.plain_english import Finding, files_below, findings_in

ROOT = Path(__file__).parents[2]
SOURCES = {
    "shared": 0,
    "client": 0,
    "services/query_api": 0,
    "services/gallery_indexer": 0,
    "toolkit": 0,
    "benchmarks": 0,
}
"""Packages and the findings that are still to be fixed in them: a count may only fall."""

GUIDES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "decisions").glob("*.md")]
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
    if guide.name == "CHANGELOG.md":
        pytest.skip("a record of earlier releases")
    found = findings([guide])
    assert found == [], listed(found)


def test_configuration_files_have_no_banned_phrasing_in_comments() -> None:
    assert len(CONFIGURATION) > 20
    found = findings(CONFIGURATION)
    assert found == [], listed(found)


@pytest.mark.parametrize(("package", "still_to_fix"), SOURCES.items(), ids=SOURCES)
def test_a_package_has_no_new_banned_phrasing(package: str, still_to_fix: int) -> None:
    found = findings(files_below(ROOT / package / "src"))
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
