"""Runs the query service: `python -m query_api`, with settings from the environment."""

from __future__ import annotations

from aff_contracts.web.serving import ServedApp, run_service
from query_api.app import create_app
from query_api.settings import QuerySettings


def main() -> None:
    """Serve until the process is asked to end."""
    settings = QuerySettings()
    run_service(ServedApp(create_app(settings), settings))


if __name__ == "__main__":
    main()
