"""Resizes an upright RGB photograph to the input of an encoder, as specified in the bundle's manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Preprocessing(BaseModel):
    """How a photograph is resized to an encoder's input size.

    Resampling is Pillow's antialiased bilinear filter. Normalisation belongs to the encoders (it is inside
    the ONNX graph), so the result stays uint8.

    Attributes:
        resize: `stretch` results in size x size pixels for every aspect ratio; `longest_side` keeps the aspect
            ratio and never enlarges.
        size: Pixels of the side, or of the longest side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Literal["stretch", "longest_side"]
    size: int = Field(ge=16, le=4096)

    def output_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of a photograph of this height and width after preprocessing, in pixels."""
        if self.resize == "stretch":
            return self.size, self.size
        scale = min(1.0, self.size / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))


def preprocess(image: NDArray[np.uint8], spec: Preprocessing) -> NDArray[np.uint8]:
    """Resize a photograph to an encoder's input size.

    Args:
        image: (H, W, 3) uint8, upright RGB.
        spec: Preprocessing of the encoder, from the manifest.

    Returns:
        (h, w, 3) uint8, C-contiguous, with (h, w) = `spec.output_shape(H, W)`.
    """
    import numpy as np  # noqa: PLC0415 - clients that read the schema have no numpy
    from PIL import Image  # noqa: PLC0415

    height, width = spec.output_shape(*image.shape[:2])
    if (height, width) == image.shape[:2]:
        return np.ascontiguousarray(image)
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.array(resized, dtype=np.uint8)
