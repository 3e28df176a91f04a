"""A PhotographEmbedder of this process, for encoders that are not the graph of a bundle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aff_shared.images.decoding import ImageLimits
from query_api.embedding.photograph_embedder import EmbeddedPhotographs, Photograph, embed_photographs


class LocalEmbedder:
    async def embed(self, photographs: Sequence[Photograph], graph: Any) -> EmbeddedPhotographs:
        return await asyncio.to_thread(embed_photographs, photographs, graph, ImageLimits())
