"""CSV in the forms in which spreadsheets, databases and programs write it."""

from __future__ import annotations

import codecs
import io

import pytest

from aff_toolkit.data.text_table import TableError, TextTable, find_column

TEXT = "path,city\na.jpg,Köln\nb.jpg,日本\n"


def _read(data: bytes | str) -> tuple[list[str], list[list[str]]]:
    table = TextTable(io.BytesIO(data.encode() if isinstance(data, str) else data))
    return table.headings, [list(row.cells) for row in table if not row.problem]


def _problems(data: bytes | str) -> dict[int, str]:
    table = TextTable(io.BytesIO(data.encode() if isinstance(data, str) else data))
    return {row.line: row.problem for row in table if row.problem}


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.encode("utf-32"),
        TEXT.replace("\n", "\r\n").encode("utf-16"),
        TEXT.replace("\n", "\r").encode(),
        f"\n\n{TEXT}".encode(),
    ],
)
def test_the_encoding_shows_in_the_first_bytes(data: bytes) -> None:
    assert _read(data) == (["path", "city"], [["a.jpg", "Köln"], ["b.jpg", "日本"]])


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ('path;city\na.jpg;"Paris; ""75"",\nFrance"\n', [["a.jpg", 'Paris; "75",\nFrance']]),
        ("path\tcity\na, b.jpg\tParis\n", [["a, b.jpg", "Paris"]]),
        ("path|city\na.jpg|Paris\n", [["a.jpg", "Paris"]]),
        ("sep=;\npath;city\na,1.jpg;Paris\n", [["a,1.jpg", "Paris"]]),
        ('"sep=|"\r\npath|city\r\na.jpg|Paris\r\n', [["a.jpg", "Paris"]]),
        ("path, city\na.jpg, Paris\n", [["a.jpg", "Paris"]]),
        ('path , city\n"a, b.jpg" , " Paris"\n', [["a, b.jpg", "Paris"]]),
        ("path,city\n lead.jpg,Paris \n", [[" lead.jpg", "Paris "]]),
        ("path,city\n,,\n\n  \na.jpg,Paris,,\n", [["a.jpg", "Paris"]]),
        ("path,city\na.jpg\n", [["a.jpg"]]),
    ],
)
def test_cells_are_separated_as_the_headings_are(text: str, rows: list[list[str]]) -> None:
    assert _read(text) == (["path", "city"], rows)


def test_headings_with_other_separators_in_them_are_read_by_the_one_that_makes_a_path_of_them() -> None:
    assert _read("path;width, cm;height, cm\na.jpg;1,5;2\n") == (
        ["path", "width, cm", "height, cm"],
        [["a.jpg", "1,5", "2"]],
    )
    assert _read("url,a|b|c,d\nx,y,z\n")[0] == ["url", "a|b|c", "d"]


@pytest.mark.parametrize("unseen", ["\u00a0", "\u200b", "\u3000", "\u2003", "\ufeff"])
def test_blanks_of_any_kind_are_no_part_of_a_heading(unseen: str) -> None:
    data = f"{unseen}path{unseen};\u00dcber{unseen}uns\na.jpg;b\n".encode()
    assert _read(data) == (["path", f"\u00dcber{unseen}uns"], [["a.jpg", "b"]])


def test_byte_order_mark_and_blanks_are_no_part_of_a_heading() -> None:
    assert _read("\ufeff path ;city\na.jpg;Köln\n") == (["path", "city"], [["a.jpg", "Köln"]])
    assert _read('\ufeff"path","city"\na.jpg,Köln\n')[0] == ["path", "city"]


def test_a_column_is_found_as_it_is_written_before_it_is_found_in_another_case() -> None:
    assert find_column(["Path", "path"], "path") == 1
    assert find_column(["City", "PATH"], "path") == 1
    assert find_column(["sourcefile"], "path", "SourceFile") == 0
    assert find_column(["city"], "path") is None


def test_a_cell_too_many_is_reported_with_its_line_and_the_others_are_read() -> None:
    text = "path,city\na.jpg,Paris, France\nb.jpg,Bern\n"
    assert _problems(text) == {2: "has 3 cells below 2 headings; a cell that contains ',' has to be quoted"}
    assert _read(text)[1] == [["b.jpg", "Bern"]]


def test_bytes_that_are_not_utf8_are_reported_with_line_column_and_remedy_and_the_others_are_read() -> None:
    data = "path;city\na.jpg;Paris\nb.jpg;Köln\nc.jpg;Bern\n".encode("cp1252")
    (problem,) = _problems(data).items()
    assert problem[0] == 3
    assert problem[1].startswith("column city: 'K\\xf6ln' is not UTF-8; save the list as UTF-8")
    assert _read(data)[1] == [["a.jpg", "Paris"], ["c.jpg", "Bern"]]


def test_a_quote_that_does_not_close_is_reported_with_the_line_in_which_it_opens() -> None:
    text = 'path,city\na.jpg,Paris\nb.jpg,"Bern\nc.jpg,Rome\nd.jpg,Oslo\n'
    assert _problems(text) == {5: "a quote that opens in line 3 or below does not close"}
    assert _read(text)[1] == [["a.jpg", "Paris"]]


def test_a_cell_that_is_too_long_is_reported_with_its_lines_and_reading_continues() -> None:
    text = f'path,city\na.jpg,"{"x" * 200_000}"\nb.jpg,Bern\n'
    (problem,) = _problems(text).items()
    assert problem == (2, "the cells from line 2 on cannot be read: field larger than field limit (131072)")
    assert _read(text)[1] == [["b.jpg", "Bern"]]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "there is no line with the names of the columns"),
        (b"\n,,\n", "there is no line with the names of the columns"),
        (b"path,city,city\n", "two columns are named city; rename one of them"),
        ("path;Größe\n".encode("cp1252"), r"the heading 'Gr\\xf6\\xdfe' is not UTF-8; save the list as UTF-8"),
        (b'path,"city\na.jpg,Paris\n', "a quote in the names of the columns does not close"),
        (f'"{"x" * 200_000}"\n'.encode(), "the headings cannot be read: field larger"),
    ],
)
def test_headings_that_cannot_be_used_are_rejected(data: bytes, words: str) -> None:
    with pytest.raises(TableError, match=words):
        TextTable(io.BytesIO(data))


def test_lines_are_those_of_the_file_whatever_precedes() -> None:
    table = TextTable(io.BytesIO(b'sep=,\npath,city\n\n"a\nb.jpg",Paris\nc.jpg,Bern\n'))
    assert [row.line for row in table] == [5, 6]
