"""The networks that a query encoder may be: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from aff_toolkit.training.query_encoder import QueryEncoder


@dataclass(frozen=True, slots=True)
class QueryBackbone:
    """A network of the query side.

    Attributes:
        architecture: What it is, in words.
        build: Gives it with fresh weights, for an embedding of the given width D.
    """

    architecture: str
    build: Callable[[int], QueryEncoder]


def _residual(width: int) -> QueryBackbone:
    return QueryBackbone(f"residual network of width {width}, GeM, whitening", partial(QueryEncoder, width))


QUERY_BACKBONES: Mapping[str, QueryBackbone] = {
    "residual-8": _residual(8),
    "residual-16": _residual(16),
    "residual-32": _residual(32),
}
