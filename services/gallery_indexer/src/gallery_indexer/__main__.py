"""Runs the gallery indexer: `python -m gallery_indexer`, with settings from the environment."""

from __future__ import annotations

from aff_shared.web.serving import run_service
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings


def main() -> None:
    """Serve until the process is terminated."""
    run_service(IndexerSettings, create_app)


if __name__ == "__main__":
    main()
