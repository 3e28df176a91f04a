"""Output on a terminal, with any characters in names and in any encoding."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from aff_shared.errors import AffError
from aff_toolkit.cli import main as module
from aff_toolkit.cli.console import DEFAULT_BUNDLE, BundlePath, exit_on_error, messages, output, print_json, printable
from aff_toolkit.cli.main import app as aff

EVIL = "a\x1b[31m\x07\x9bm\u202e\x7f\udce9é日😀"
SHOWN = "a\\x1b[31m\\x07\\x9bm\\u202e\\x7f\\udce9é日😀"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (EVIL, SHOWN),
        ("new\nline\ttab\r", "new\\x0aline\\x09tab\\x0d"),
        ("\u2028\u2066", "\\u2028\\u2066"),
        ("👩‍👧", "👩‍👧"),
    ],
)
def test_control_characters_are_shown_as_escapes(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_no_text_and_no_cell_of_a_table_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    output.print(EVIL)
    table = Table("id")
    table.add_row(EVIL)
    messages.print(table)
    printed = capsys.readouterr()
    assert printed.out == SHOWN + "\n"
    assert SHOWN in printed.err


def test_a_name_in_an_error_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit), exit_on_error(as_json=False):
        raise AffError("cannot be read", item="\x1b[2Jnew\nline.jpg")
    assert capsys.readouterr().err == "Internal error: \\x1b[2Jnew\\x0aline.jpg: cannot be read\n"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "euc-jp", "cp1252"])
@pytest.mark.parametrize("name", [EVIL, "é日😀", "plain"])
def test_a_json_document_is_one_in_every_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, name: str) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    print_json({"id": name})
    sys.stdout.flush()
    document = written.getvalue().decode(encoding)
    assert json.loads(document) == {"id": name}
    assert printable(document, keep="\n") == document


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_the_encoding_of_a_terminal_lacks_is_written_as_escapes(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    monkeypatch.setattr(module, "app", lambda: output.print("日.jpg"))
    module.main()
    sys.stdout.flush()
    assert written.getvalue() == b"\\u65e5.jpg\n"


app = typer.Typer()


@app.command()
def tell(bundle: BundlePath = DEFAULT_BUNDLE) -> None:
    typer.echo(bundle)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the default bundle is found, as if a checkout had it."""
    bundle = tmp_path / "checkout" / "bundles" / "photos"
    monkeypatch.setattr("aff_toolkit.cli.console.default_bundle", lambda: bundle)
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
