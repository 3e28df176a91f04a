"""Serves the gallery indexer with the honest fake of its encoder: `python -m tests.support.serve_fake_indexer`.

Settings come from the environment, as the service's own do.
"""

from __future__ import annotations

from functools import partial

from aff_shared.web.serving import run_service
from gallery_indexer.app import create_app
from gallery_indexer.settings import IndexerSettings
from tests.support.fake_gallery_encoder import load_fake_gallery_encoder

if __name__ == "__main__":
    served = partial(create_app, load_encoder=load_fake_gallery_encoder)
    served.__module__ = create_app.__module__  # type: ignore[attr-defined] # names the service
    run_service(IndexerSettings, served)
