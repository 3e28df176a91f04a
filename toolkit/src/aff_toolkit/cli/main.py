"""The root of the `aff` command, which imports a subcommand only when it runs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

COMMANDS = {
    "serve": ("aff_toolkit.cli.serve:serve", "Run the services and the search page on this machine."),
    "index": ("aff_toolkit.cli.index:index", "Add photographs to the gallery."),
    "search": ("aff_toolkit.cli.search:search", "Search the gallery for photographs of the same thing."),
    "ls": ("aff_toolkit.cli.images:ls", "List the images of the gallery."),
    "show": ("aff_toolkit.cli.images:show", "Show what the gallery stores about an image."),
    "edit": ("aff_toolkit.cli.images:edit", "Change the payload of an image."),
    "delete": ("aff_toolkit.cli.images:delete", "Delete images from the gallery."),
    "demo": ("aff_toolkit.cli.demo:demo", "Index and search photographs, and report the accuracy."),
    "train": ("aff_toolkit.cli.train:train", "Train a bundle by a recipe or on your own photographs."),
    "evaluate": ("aff_toolkit.cli.evaluate:evaluate", "Evaluate a bundle on a benchmark."),
    "openapi": ("aff_toolkit.cli.serve:openapi", "Write the OpenAPI document of each service."),
    "protocol": ("aff_toolkit.cli.protocol:app", "Create CSV files for `aff evaluate csv`."),
    "bundle": ("aff_toolkit.cli.bundle:app", "Inspect, verify and repair model bundles."),
    "gallery": ("aff_toolkit.cli.gallery:app", "Manage collections, model changes, backups and exports."),
    "features": ("aff_toolkit.cli.features:app", "Extract and store features for trainings."),
    "checkpoints": ("aff_toolkit.cli.bundle:checkpoints_app", "Convert released checkpoints into extractors."),
    "keys": ("aff_toolkit.cli.keys:app", "Create access keys for the services."),
}
"""Name of a subcommand: what runs it (`module:attribute`), and its line in `aff --help`, of one sentence."""


RENAMED = {
    "serve": {"--gallery": "--gallery-dir"},
    "gallery": {"--gallery": "--gallery-dir"},
    "demo": {"--gallery": "--images"},
    "train": {"--gallery": "--gallery-side"},
    "evaluate": {"--data": ""},  # its value is the argument PATH
    "bench": {"--gallery": "--gallery-size"},
}
"""Former names of options, which are accepted until the next release."""


class LazyCommand(TyperCommand):
    """A subcommand with its help line, whose module is imported when it runs.

    Args:
        name: Name of the subcommand.
        target: `module:attribute` of a function or of a typer.Typer.
        line: Its line in the help of all subcommands.
    """

    def __init__(self, name: str, target: str, line: str) -> None:
        super().__init__(name, help=line)
        self._target = target

    def load(self) -> TyperCommand | TyperGroup:
        """Import the module, and return the subcommand with its parameters."""
        module, _, attribute = self._target.partition(":")
        found = getattr(import_module(module), attribute)
        if isinstance(found, typer.Typer):
            found.rich_markup_mode = None
            loaded: Any = get_group(found)
        else:
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command()(found)
            loaded = get_command(app)
        loaded.name = self.name
        return loaded  # type: ignore[no-any-return]

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **options: Any) -> Any:
        """Return the context of the loaded subcommand; former names of options are replaced."""
        return self.load().make_context(info_name, [*_renamed(str(self.name), args)], *rest, **options)


def _renamed(command: str, words: list[str]) -> Iterator[str]:
    """Yield the words of a command line with the current names of options."""
    renamed = RENAMED.get(command, {})
    for word in words:
        name, separator, value = word.partition("=")
        if name not in renamed:
            yield word
            continue
        new = renamed[name]
        typer.echo(f"{name} is deprecated: use {new or 'the argument PATH'}", err=True)
        if new:
            yield f"{new}{separator}{value}"
        elif separator:
            yield value


class LazyGroup(TyperGroup):
    """The subcommands of this package, and those of installed packages (entry points `aff_toolkit.commands`)."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._add(COMMANDS)
        self._complete = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return a subcommand; see TyperGroup."""
        if cmd_name not in self.commands:
            self._add_installed()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all subcommands; see TyperGroup."""
        self._add_installed()
        return super().list_commands(ctx)

    def _add_installed(self) -> None:
        if self._complete:
            return
        self._complete = True
        from importlib.metadata import entry_points  # noqa: PLC0415 - takes 0.1 s

        for installed in entry_points(group="aff_toolkit.commands"):
            self._add(installed.load())

    def _add(self, commands: dict[str, tuple[str, str]]) -> None:
        for name, (target, line) in commands.items():
            self.add_command(LazyCommand(name, target, line))


# Without markup, help does not import rich, which takes 0.1 s.
app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback()
def aff() -> None:
    """Asymmetric image retrieval: heavy models for the gallery, a light model for queries."""


def main() -> None:
    """Run the command line; characters that the terminal cannot encode are escaped."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # ONNX Runtime reads it when it is imported
    for unused in ("h2", "httpx._main"):  # HTTP/2, and the command line of httpx: 0.1 s
        sys.modules.setdefault(unused, None)  # type: ignore[arg-type] # documented: its import raises ImportError
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
