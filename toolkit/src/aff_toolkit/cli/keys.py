"""`aff keys`."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from aff_shared.errors import AccessSettingsError
from aff_shared.web.settings import AccessKey, AccessSettings, Scope
from aff_toolkit.cli.console import JsonOption, exit_on_error, messages, print_json

app = typer.Typer(no_args_is_help=True, help="Create access keys for the services.")

_KEY_BYTES = 32


@app.callback()
def keys() -> None:
    """Create access keys for the services."""


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the key: letters, digits, '.', '_' and '-'.")],
    scope: Annotated[list[Scope], typer.Option(help="Permission of the key; can be repeated.")],
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of requests per minute to one process of a service.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="Key file (AFF_ACCESS_KEYS_FILE) to which the key is added.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Create an access key. It is printed once; the services store only its hash."""
    with exit_on_error(as_json):
        key, entry = make_key(name, scope, requests_per_minute, file)
    if as_json:
        print_json({"key": key, "entry": entry.model_dump(mode="json", exclude_none=True)})
        return
    typer.echo(key)
    if file is not None:
        where = f"Its hash was added to {file}."
    else:
        where = f"Set for the services: AFF_ACCESS_KEYS='[{entry.model_dump_json(exclude_none=True)}]'"
    messages.print(f"The key of {name} is printed above and is not stored. {where}")


def make_key(
    name: str, scopes: list[Scope], requests_per_minute: int | None = None, file: Path | None = None
) -> tuple[str, AccessKey]:
    """Create a key, and add its entry to a file if one is passed.

    Returns:
        The key, and the entry with its hash.

    Raises:
        AccessSettingsError: The file cannot be read or written, or contains a key with this name.
    """
    key = secrets.token_urlsafe(_KEY_BYTES)
    entry = _entry(name, key, scopes, requests_per_minute)
    if file is not None:
        _add(file, entry)
    return key, entry


def _entry(name: str, key: str, scopes: list[Scope], requests_per_minute: int | None) -> AccessKey:
    try:
        return AccessKey.model_validate(
            {
                "name": name,
                "sha256": hashlib.sha256(key.encode()).hexdigest(),
                "scopes": tuple(dict.fromkeys(scopes)),
                "requests_per_minute": requests_per_minute,
            }
        )
    except ValidationError as error:
        raise typer.BadParameter("letters, digits, '.', '_' and '-', 64 at most", param_hint="NAME") from error


def _add(path: Path, entry: AccessKey) -> None:
    known = AccessSettings(keys=(), keys_file=path).all_keys() if path.exists() else ()
    if entry.name in {one.name for one in known}:
        raise AccessSettingsError(f"a key with the name {entry.name!r} exists", item=str(path))
    text = json.dumps([one.model_dump(mode="json", exclude_none=True) for one in (*known, entry)], indent=2)
    partial = path.with_name(f"{path.name}.partial")
    try:
        partial.touch(mode=0o600)
        partial.write_text(f"{text}\n")
        partial.replace(path)
    except OSError as error:
        raise AccessSettingsError(f"the key cannot be saved: {error.strerror}", item=str(path)) from error
