"""The aff command: serve, index, search, train, demonstrate; and the Python API, docs/python.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aff_toolkit.api import evaluate, train
    from aff_toolkit.models.loaded_bundle import Bundle, embed_gallery, embed_query, export_query_encoder, load_bundle

__all__ = ["Bundle", "embed_gallery", "embed_query", "evaluate", "export_query_encoder", "load_bundle", "train"]

_OF_A_BUNDLE = {"Bundle", "embed_gallery", "embed_query", "export_query_encoder", "load_bundle"}


def __getattr__(name: str) -> Any:
    """Import the Python API when it is used: torch takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        import_module("aff_toolkit.models.loaded_bundle" if name in _OF_A_BUNDLE else "aff_toolkit.api"), name
    )
