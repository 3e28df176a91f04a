"""Runs the gallery indexer: `python -m gallery_indexer`, with settings from the environment."""

from __future__ import annotations

import uvicorn

from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings


def main() -> None:
    """Serve until the process is asked to end."""
    settings = IndexerSettings()
    uvicorn.run(create_app(settings), host=settings.host, port=settings.port)


if __name__ == "__main__":
    main()
