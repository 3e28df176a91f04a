"""Runs the query service: `python -m query_api`, with settings from the environment."""

from __future__ import annotations

from aff_shared.web.serving import run_service
from query_api.app import create_app
from query_api.settings import QuerySettings


def main() -> None:
    """Serve until the process receives a signal to stop."""
    run_service(QuerySettings, create_app)


if __name__ == "__main__":
    main()
