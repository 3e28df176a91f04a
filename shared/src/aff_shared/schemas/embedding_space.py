"""The embedding space: the identity that makes two vectors comparable."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from aff_shared.errors import EmbeddingSpaceMismatchError

SHA256_PATTERN = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, Field(pattern=SHA256_PATTERN)]


class EmbeddingSpace(BaseModel):
    """Which vectors may be compared with which.

    Vectors are unit-length float32 of shape (D,). Two vectors are comparable exactly when their spaces are
    equal; an equal dimension is not enough. The id is derived from the gallery side of a model bundle
    (mixer, extractors and their weights), so several query encoders can serve one space.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Sha256
    dimension: int = Field(ge=2, le=65_536)
    metric: Literal["cosine"] = "cosine"

    def require_same(self, other: EmbeddingSpace, *, here: str, there: str) -> None:
        """Raise unless `other` is this space.

        Args:
            other: The space found at the other end.
            here: Name of the holder of this space, for the message.
            there: Name of the holder of the other space.

        Raises:
            EmbeddingSpaceMismatchError: The spaces differ.
        """
        if self == other:
            return
        raise EmbeddingSpaceMismatchError(
            f"{here} has embedding space {self.id[:12]} ({self.dimension}-d {self.metric}), {there} has "
            f"{other.id[:12]} ({other.dimension}-d {other.metric}). They cannot be compared: use the "
            f"bundle that the gallery was indexed with, or index the gallery again with this bundle."
        )
