"""What a terminal gets to see, whatever stands in names and whatever its encoding is."""

from __future__ import annotations

import io
import json
import sys

import pytest
import typer
from rich.table import Table

from aff_shared.errors import AffError
from aff_toolkit.cli import main as module
from aff_toolkit.cli.console import exit_on_error, messages, output, print_json
from aff_toolkit.cli.printable import printable

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
