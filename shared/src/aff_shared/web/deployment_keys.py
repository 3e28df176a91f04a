"""Makes the keys of a deployment's Qdrant: `python -m aff_shared.web.deployment_keys DIRECTORY`.

Each of three subdirectories is for one container, so that no container has more keys than it needs: `server` with
`qdrant.yaml` for Qdrant itself, `writer` with the key that may do everything, `reader` with one that may only read.
Keys of the environment (`QDRANT_API_KEY`, `QDRANT_READ_ONLY_API_KEY`) are taken; others are made once, and stay.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

_KEY_BYTES = 32


def write_deployment_keys(directory: Path, environment: Mapping[str, str]) -> None:
    """Write the keys.

    Args:
        directory: It has the directories `server`, `writer` and `reader`.
        environment: In which keys may be given.
    """
    writer = _key(directory / "writer" / "api-key", environment.get("QDRANT_API_KEY"))
    reader = _key(directory / "reader" / "api-key", environment.get("QDRANT_READ_ONLY_API_KEY"))
    # Whatever is JSON is YAML.
    service = {"service": {"api_key": writer, "read_only_api_key": reader}}
    _write(directory / "server" / "qdrant.yaml", json.dumps(service))


def _key(path: Path, given: str | None) -> str:
    key = given or (path.read_text().strip() if path.exists() else secrets.token_urlsafe(_KEY_BYTES))
    _write(path, key)
    return key


def _write(path: Path, text: str) -> None:
    """Write at one moment; readable for the user of any container that has the directory."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(f"{text}\n")
    partial.chmod(0o444)
    partial.replace(path)


if __name__ == "__main__":
    write_deployment_keys(Path(sys.argv[1]), os.environ)
