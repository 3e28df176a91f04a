"""The options that several subcommands share."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from aff_toolkit.cli.main import app as aff
from aff_toolkit.cli.options import DEFAULT_BUNDLE, BundlePath

app = typer.Typer()


@app.command()
def tell(bundle: BundlePath = DEFAULT_BUNDLE) -> None:
    typer.echo(bundle)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default bundle is found, as if a checkout had it."""
    bundle = tmp_path / "checkout" / "bundles" / "photos"
    monkeypatch.setattr("aff_toolkit.cli.options.default_bundle", lambda: bundle)
    return bundle


def test_without_the_option_the_default_bundle_is_looked_for(found: Path) -> None:
    assert CliRunner().invoke(app).stdout == f"{found}\n"


@pytest.mark.parametrize("named", ["bundles/own", "bundles/photos"])
def test_a_bundle_that_is_named_is_taken_as_it_is(found: Path, named: str) -> None:
    assert CliRunner().invoke(app, ["--bundle", named]).stdout == f"{named}\n"


@pytest.mark.parametrize(
    "command",
    ["serve", "demo", "index", "train", "evaluate", "features extract", "gallery rebuild", "bench all", "bench load"],
)
def test_the_help_shows_the_default_without_a_path_of_this_machine(command: str) -> None:
    shown = CliRunner().invoke(aff, [*command.split(), "--help"], env={"COLUMNS": "200"}).stdout
    assert "bundles/photos" in shown
    assert str(Path.cwd()) not in shown
