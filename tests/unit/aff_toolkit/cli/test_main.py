"""The root of `aff`: what each subcommand imports, the help, shell completion, subcommands of other packages."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from aff_toolkit.cli.main import COMMANDS, app

HEAVY = (
    *("torch", "onnxruntime", "qdrant_client", "qdrant_edge", "fastapi", "uvicorn", "opentelemetry"),
    *("numpy", "PIL", "pyvips", "cv2", "pyarrow", "transformers", "fsspec", "httpx", "pydantic"),
    *("h2", "httpx._main", "aff_client.index_client"),
)
IMPORTED = """
import sys
from aff_toolkit.cli.main import main
try:
    main()
except SystemExit:
    pass
print(*(name for name in {heavy} if sys.modules.get(name)), file=sys.stderr)
"""


def aff(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", IMPORTED.format(heavy=HEAVY), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | environment)


@pytest.mark.parametrize(
    ("words", "imported"),
    [
        (["--help"], set()),
        (["search", "--help"], {"pydantic"}),
        (["search", "missing.jpg", "--json"], {"httpx", "pydantic"}),
        (["index", "--help"], {"fsspec", "httpx", "pydantic", "PIL", "aff_client.index_client"}),
        (["ls", "--help"], set()),
        (["ls", "--query-url", "http://127.0.0.1:1"], {"httpx", "pydantic"}),
        (
            ["index", "missing/", "--indexer-url", "http://127.0.0.1:1", "--give-up-after", "0"],
            {"fsspec", "httpx", "pydantic", "PIL", "aff_client.index_client"},
        ),
        (["evaluate", "--help"], set()),
        (["keys", "--help"], {"pydantic"}),
    ],
)
def test_a_subcommand_imports_only_what_it_uses(words: list[str], imported: set[str]) -> None:
    assert set(aff(*words).stderr.splitlines()[-1].split()) == imported


def test_onnx_runtime_reports_nothing_to_its_maker() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    program = "import os, sys; from aff_toolkit.cli.main import main; sys.argv[1:] = ['keys', '--help']\ntry: main()\n"
    program += "except SystemExit: print(os.environ['ORT_DISABLE_TELEMETRY'], file=sys.stderr)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert ran.stderr == "1\n"


def test_the_help_lists_every_subcommand_with_its_whole_line() -> None:
    shown = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:12} {line}" in shown.splitlines()


def test_every_subcommand_of_the_help_can_be_imported() -> None:
    group = get_command(app)
    for name in group.list_commands(None):  # type: ignore[attr-defined]
        loaded = group.commands[name].load()  # type: ignore[attr-defined]
        assert loaded.name == name
        assert loaded.help


def test_a_mistyped_subcommand_is_a_usage_error_with_a_suggestion() -> None:
    result = CliRunner().invoke(app, ["serch"])
    assert result.exit_code == 2
    assert "Did you mean 'search'" in result.output


@pytest.mark.parametrize(
    ("typed", "completion"),
    [("aff sear", "search"), ("aff gallery rollb", "rollback"), ("aff search --lim", "--limit")],
)
def test_shells_complete_subcommands_and_options(typed: str, completion: str) -> None:
    script = "import sys; from aff_toolkit.cli.main import app; sys.argv = ['aff']; app(prog_name='aff')"
    words = {"_AFF_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    command = [sys.executable, "-c", script]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | words)
    assert shown.stdout.split() == [completion]


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["train", "--out", "o", "--images", ".", "--gallery", "sideways"], 2, "--gallery-side"),
        (["demo", "--gallery=folder"], 2, "--images and --query"),
        (["gallery", "export", "new", "--gallery", "none"], 1, "no gallery in"),
        (["evaluate", "score", "--data", "none"], 1, "no evaluation there"),
    ],
)
def test_a_former_name_of_an_option_is_accepted_and_reported(words: list[str], code: int, shown: str) -> None:
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code
    assert "is deprecated: use" in result.stderr.splitlines()[0]
    assert shown in result.output


def test_a_bundle_is_found_by_its_name_too() -> None:
    by_name = CliRunner().invoke(app, ["bundle", "verify", "photos", "--json"])
    by_path = CliRunner().invoke(app, ["bundle", "verify", "bundles/photos", "--json"])
    assert (by_name.exit_code, by_name.output) == (0, by_path.output)
