"""The strongest of an image's local descriptors."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gallery_indexer.features.extractors.extractor import FeatureBatch


def strongest_tokens(values: Tensor, strengths: Tensor, positions: Tensor, count: int) -> FeatureBatch:
    """Choose tokens by falling strength; where there are fewer than `count`, the rest is masked.

    Args:
        values: (B, N, d).
        strengths: (B, N); where it is not above 0 there is no token.
        positions: (B, N, 2) or (N, 2), shares of the image's width and height.
        count: Tokens of the result, n.
    """
    B, N, d = values.shape
    kept, missing = min(count, N), max(0, count - N)
    top = strengths.topk(kept, dim=1)
    places = top.indices[..., None]
    chosen = values.gather(1, places.expand(-1, -1, d))
    where = positions.expand(B, -1, -1).gather(1, places.expand(-1, -1, 2))
    mask = top.values > 0
    present = mask[..., None]
    return FeatureBatch(
        F.pad(chosen.float() * present, (0, 0, 0, missing)),
        F.pad(mask, (0, missing)),
        F.pad(where * present, (0, 0, 0, missing)),
        F.pad(top.values.float(), (0, missing)),
    )
